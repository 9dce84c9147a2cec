"""Split a model into a trunk and a tail (section 2, Eq. 1)."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from hypertail.errors import ConfigError
from hypertail.nets.cut import check_cut


def stage_names(model: nn.Module) -> list[str]:
    """The names of the stages of `model`, from input to output."""
    return [name for name, _ in _stages(model)]


def decompose(
    model: nn.Module, depth: int | None = None, *, at: str | None = None, probe: Tensor | None = None
) -> tuple[nn.Sequential, nn.Sequential]:
    """`(trunk, tail)` with `tail(trunk(x)) == model(x)`; both share the parameters of `model`.

    Args:
        model: an `nn.Sequential` of stages.
        depth: 0 puts everything in the tail; k >= 1 puts the first stage (the stem) and the k stages after it in the
            trunk. Stages are the children of `model`: the residual blocks of `slim_resnet18`, of which k are then
            frozen; in a model of one's own whatever its children are, for which `at` is plainer.
        at: instead of `depth`, the name of the first stage of the tail.
        probe: a batch of images (n, channels, h, w). Trunk and tail are then run on it and compared with the model
            bit for bit, in evaluation mode (see `check_cut`).

    Raises:
        ConfigError: the model is not a sequence of stages, the cut does not exist or leaves the tail empty, trunk and
            tail would share a layer, or a stage cannot take the probe.
    """
    if not isinstance(model, nn.Sequential):
        raise ConfigError(
            f"cannot decompose a {type(model).__name__}",
            required="an nn.Sequential of stages",
            found=type(model).__name__,
            hint=_PAIR,
        )
    if type(model).forward is not nn.Sequential.forward:
        raise ConfigError(
            f"cannot decompose a {type(model).__name__}",
            required="an nn.Sequential that runs its stages in a row",
            found="a forward method of its own",
            hint=_PAIR,
        )
    stages = _stages(model)
    names = [name for name, _ in stages]
    if at is not None:
        if at not in names:
            raise ConfigError(
                f"no stage '{at}' to cut at",
                required=f"one of {', '.join(names)}",
                found=at,
                hint="Name one of them.",
            )
        cut = names.index(at)
    else:
        deepest = max(0, len(names) - 2)
        if depth is None or not 0 <= depth <= deepest:
            raise ConfigError(
                "depth of decomposition",
                required=f"an integer from 0 to {deepest}",
                found=str(depth),
                hint="Depth counts the frozen stages after the first; the classifier always belongs to the tail.",
            )
        cut = depth + 1 if depth else 0
    _check_apart(stages[:cut], stages[cut:])
    trunk, tail = nn.Sequential(OrderedDict(stages[:cut])), nn.Sequential(OrderedDict(stages[cut:]))
    if probe is not None:
        check_cut(model, trunk, tail, probe)
    return trunk, tail


_PAIR = (
    "Wrap the model: nn.Sequential(OrderedDict(features=..., classifier=...)); or give Trunk and PartialHypernet a "
    "trunk and a tail of your own, any two modules, and compare them with the model by check_cut."
)


def _stages(model: nn.Module) -> list[tuple[str, nn.Module]]:
    # named_children() leaves out the second of two uses of one module
    return [(name, stage) for name, stage in model._modules.items() if stage is not None]


def _check_apart(trunk: list[tuple[str, nn.Module]], tail: list[tuple[str, nn.Module]]) -> None:
    """What is frozen must not be generated too."""
    owners = {id(tensor): name for name, stage in trunk for tensor in (*stage.parameters(), *stage.buffers())}
    for name, stage in tail:
        for tensor in (*stage.parameters(), *stage.buffers()):
            if id(tensor) in owners:
                raise ConfigError(
                    "trunk and tail share a layer",
                    required="parameters that belong to one of the two",
                    found=f"stages '{owners[id(tensor)]}' and '{name}' with the same tensor",
                    hint="Cut elsewhere, or copy the layer (copy.deepcopy) into one of the two stages.",
                )
