"""Split a model into a trunk and a tail (section 2, Eq. 1)."""

from __future__ import annotations

from collections import OrderedDict
from typing import overload

from torch import Tensor, nn

from hypertail.errors import ConfigError
from hypertail.nets.cut import check_cut
from hypertail.nets.trace import PAIR, split


def stage_names(model: nn.Module) -> list[str]:
    """The names of the stages of `model`, from input to output."""
    return [name for name, _ in _stages(model)]


@overload
def decompose(
    model: nn.Module, depth: int | None = None, *, at: str | None = None, probe: Tensor | None = None
) -> tuple[nn.Sequential, nn.Sequential]: ...


@overload
def decompose(model: nn.Module, *, cut: str, probe: Tensor | None = None) -> tuple[nn.Module, nn.Module]: ...


def decompose(
    model: nn.Module,
    depth: int | None = None,
    *,
    cut: str | None = None,
    at: str | None = None,
    probe: Tensor | None = None,
) -> tuple[nn.Module, nn.Module]:
    """`(trunk, tail)` with `tail(trunk(x)) == model(x)`; both share the parameters of `model`.

    Args:
        model: any module with one input and one output. An `nn.Sequential` of stages gives two of them; another
            model is traced (`torch.fx`) and gives two graph modules in which parameters keep their full names.
        depth: of an `nn.Sequential`: 0 puts everything in the tail; k >= 1 puts the first stage (the stem) and the k
            stages after it in the trunk. Stages are the children of `model`: the residual blocks of `slim_resnet18`, of
            which k are then frozen; in a model of one's own whatever its children are, for which `cut` is plainer.
        cut: instead of `depth`, the name of a module, such as `layer3` or `encoder.layers.2`: all that runs before the
            first step inside it is the trunk.
        at: the same as `cut`, for an `nn.Sequential`.
        probe: a batch of images (n, channels, h, w). Trunk and tail are then run on it and compared with the model
            bit for bit, in evaluation mode (see `check_cut`).

    Raises:
        ConfigError: the model cannot be traced, the cut does not exist or leaves nothing on one side, anything but one
            tensor crosses it, trunk and tail would share a layer, or a stage cannot take the probe.
    """
    cut = at if cut is None else cut
    plain = isinstance(model, nn.Sequential) and type(model).forward is nn.Sequential.forward
    if plain and (cut is None or cut in stage_names(model)):
        assert isinstance(model, nn.Sequential)
        halves: tuple[nn.Module, nn.Module] = _cut_stages(model, depth, cut)
    elif cut is not None and at is None:
        halves = split(model, cut)
        _check_apart([("trunk", halves[0])], [("tail", halves[1])])
    elif plain:
        names = stage_names(model)
        raise ConfigError(
            f"no stage '{cut}' to cut at",
            required=f"one of {', '.join(names)}",
            found=str(cut),
            hint="Name one of them.",
        )
    else:
        own = "a forward method of its own" if isinstance(model, nn.Sequential) else type(model).__name__
        raise ConfigError(
            f"cannot cut a {type(model).__name__} by depth",
            required="an nn.Sequential that runs its stages in a row, or cut= with the name of a module",
            found=own,
            hint=f"Name the module where the tail begins: decompose(model, cut='layer3'). {PAIR}",
        )
    if probe is not None:
        check_cut(model, *halves, probe)
    return halves


def _cut_stages(model: nn.Sequential, depth: int | None, at: str | None) -> tuple[nn.Sequential, nn.Sequential]:
    """The stages before and after a cut."""
    stages = _stages(model)
    names = [name for name, _ in stages]
    if at is not None:
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
    return trunk, tail


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
