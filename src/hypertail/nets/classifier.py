"""Which layer of a model gives its logits."""

from __future__ import annotations

from torch import nn


def classifier_of(model: nn.Module) -> str | None:
    """The path of the `nn.Linear` that gives the logits: the last one that `model` has; None where it has none.

    A model that makes its layers in another order than it calls them has another one, which must be named where this
    is used.
    """
    layers = [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)]
    called = [name for name in layers if not inside_attention(model, parameter_at(name, "weight"))]
    return called[-1] if called else None


def inside_attention(model: nn.Module, parameter: str) -> bool:
    """Whether a parameter is one of `nn.MultiheadAttention`, whose layers are never called by themselves."""
    parts = parameter.split(".")[:-1]
    paths = (".".join(parts[:count]) for count in range(len(parts) + 1))
    return any(isinstance(model.get_submodule(path), nn.MultiheadAttention) for path in paths)


def parameter_at(path: str, name: str) -> str:
    """The full name of a parameter of the layer at `path`, which is empty for the model itself."""
    return f"{path}.{name}" if path else name
