"""Split a model into a trunk and a tail (section 2, Eq. 1)."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from hypertail.errors import ConfigError


def stage_names(model: nn.Module) -> list[str]:
    """The names of the stages of `model`, from input to output."""
    return [name for name, _ in model.named_children()]


def decompose(
    model: nn.Module, depth: int | None = None, *, at: str | None = None
) -> tuple[nn.Sequential, nn.Sequential]:
    """`(trunk, tail)` with `tail(trunk(x)) == model(x)`; both share the parameters of `model`.

    Args:
        model: an `nn.Sequential` of stages.
        depth: number of residual blocks in the trunk: 0 puts everything in the tail, k >= 1 the stem and k blocks.
        at: instead of `depth`, the name of the first stage of the tail.

    Raises:
        ConfigError: the model is not a sequence of stages, or the cut does not exist or leaves the tail empty.
    """
    if not isinstance(model, nn.Sequential):
        raise ConfigError(
            f"cannot decompose a {type(model).__name__}",
            required="an nn.Sequential of stages",
            found=type(model).__name__,
            mend="Wrap the model: nn.Sequential(OrderedDict(features=..., classifier=...)).",
        )
    names = stage_names(model)
    if at is not None:
        if at not in names:
            raise ConfigError(
                f"no stage '{at}' to cut at",
                required=f"one of {', '.join(names)}",
                found=at,
                mend="Name one of them.",
            )
        cut = names.index(at)
    else:
        deepest = len(names) - 2
        if depth is None or not 0 <= depth <= deepest:
            raise ConfigError(
                "depth of decomposition",
                required=f"an integer from 0 to {deepest}",
                found=str(depth),
                mend="Depth counts the frozen blocks; the classifier always belongs to the tail.",
            )
        cut = depth + 1 if depth else 0
    stages = list(model.named_children())
    return nn.Sequential(OrderedDict(stages[:cut])), nn.Sequential(OrderedDict(stages[cut:]))


class Frozen(nn.Module):
    """A module that no longer learns: no gradients, and normalisation statistics fixed for good.

    `.train()` on it, or on a module that contains it, leaves it in evaluation mode, so that the features of an
    image depend on that image alone.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> Frozen:
        """Stay in evaluation mode whatever is asked."""
        super().train(False)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """The output of the frozen module, detached."""
        with torch.no_grad():
            return self.module(x)  # type: ignore[no-any-return]
