"""Whether trunk and tail are the model that was cut, and which stage fails where they are not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hypertail.errors import ConfigError
from hypertail.nets.mode import in_mode


def check_cut(model: nn.Module, trunk: nn.Module, tail: nn.Module, probe: Tensor) -> None:
    """Refuse a trunk and a tail that are not `model`: `tail(trunk(x))` is to equal `model(x)` bit for bit.

    All three run in evaluation mode and are left as they were.

    Args:
        model: images -> logits, as it was before it was cut.
        trunk: images -> features.
        tail: features -> logits.
        probe: a batch of images as the model takes them, (n, channels, h, w); two are enough.

    Raises:
        ConfigError: naming the first stage that fails, with the shape it was given; or by how much the outputs differ.
    """
    with torch.no_grad(), in_mode(False, model, trunk, tail):
        wanted = _run("model", model, probe)
        features = _run("trunk", trunk, probe)
        logits = _run("tail", tail, features)
    if wanted.shape != logits.shape:
        found = f"shape {tuple(logits.shape)} where the model gives {tuple(wanted.shape)}"
    elif not torch.equal(wanted, logits):
        found = f"a difference of up to {float((wanted - logits).abs().max()):.3g}"
    else:
        return
    raise ConfigError(
        "trunk and tail are not the model",
        required="tail(trunk(x)) equal to model(x)",
        found=found,
        hint=_LOST,
    )


@contextmanager
def stage_named(what: str, module: nn.Module, inputs: Tensor) -> Iterator[None]:
    """Turn an error of `module(inputs)` inside the block into one that names the stage and the shapes.

    Only where running the stages again fails in the same way; every other error passes as it is.
    """
    try:
        yield
    except RuntimeError as error:
        if not any(word in str(error) for word in _NO_MATTER_OF_SHAPES):
            with torch.no_grad(), in_mode(False, module):
                _run(what, module, inputs.detach())
        raise


_NO_MATTER_OF_SHAPES = ("alloc", "memory", "CUDA", "device", "dtype", "scalar type")

_LOST = (
    "What a forward method does between its children (flatten, pooling, an activation) is lost when the children are "
    "put in a row: make it a stage of its own, such as nn.Flatten(). Stages must be the modules in the order in "
    "which forward calls them."
)


def _run(what: str, module: nn.Module, inputs: Tensor) -> Tensor:
    """The output of a module, run stage by stage where it is a sequence; `inputs` stay as they are."""
    value, at = inputs.clone(), what  # a first stage may work in place
    stages = [(what, module)]
    if _plain_sequence(module):
        stages = [
            (f"stage '{name}' of the {what}", stage) for name, stage in module._modules.items() if stage is not None
        ]
    for at, stage in stages:
        given = tuple(value.shape)
        try:
            value = stage(value)
        except (RuntimeError, TypeError, ValueError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise ConfigError(
                f"{at} ({type(stage).__name__}) cannot take what it is given",
                required="inputs that fit the layer",
                found=f"shape {given}: {first}",
                hint=_LOST,
            ) from error
        if not isinstance(value, Tensor):
            raise ConfigError(
                f"{at} ({type(stage).__name__})",
                required="one tensor as its output",
                found=type(value).__name__,
                hint="Wrap the stage in a module that returns the one tensor the next stage needs.",
            )
    return value


def _plain_sequence(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward
