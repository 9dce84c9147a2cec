"""A tail without its classifier."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, fx, nn

from hypertail.errors import ConfigError
from hypertail.nets.classifier import classifier_of
from hypertail.nets.mode import in_mode


def without_classifier(tail: nn.Module, features: Tensor) -> tuple[nn.Module, nn.Linear | None]:
    """`(body, classifier)`: a copy of the tail up to the input of the `nn.Linear` that gives its output, and a copy of
    that layer; None where the tail has no such layer, and gives vectors already.

    Args:
        tail: features -> logits, or vectors (n, width).
        features: a batch of what the tail takes; two are enough.

    Raises:
        ConfigError: neither logits nor vectors come out, or what is before the classifier is no vector.
    """
    with torch.no_grad(), in_mode(False, tail):
        output = tail(features.clone())
        if not isinstance(output, Tensor) or output.dim() != 2:
            found = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
            raise ConfigError(
                "output of the tail",
                required="logits or vectors, (n, width)",
                found=found,
                hint="End the tail with global average pooling and nn.Flatten(), or with the class token.",
            )
        path = classifier_of(tail)
        if path is not None and path != "":
            body, layer = _cut_off(tail, path)
            if _gives(body, layer, features, output):
                return body, layer
        if path == "" and isinstance(tail, nn.Linear):
            body = nn.Sequential(nn.Flatten())
            if _gives(body, tail, features, output):
                return body, copy.deepcopy(tail)
    return copy.deepcopy(tail).eval(), None


def headless(tail: nn.Module) -> tuple[nn.Module, int]:
    """`(body, width)`: a copy of the tail with nothing in the place of its classifier, and the size of its vectors.

    Raises:
        ConfigError: the tail has no linear layer inside it.
    """
    path = classifier_of(tail)
    if not path:
        raise ConfigError(
            "tail without a classifier",
            required="a module with a last nn.Linear layer in it",
            found=type(tail).__name__,
            hint="End the model with nn.Linear.",
        )
    body, layer = _cut_off(tail, path)
    return body, layer.in_features


def _gives(body: nn.Module, layer: nn.Linear, features: Tensor, output: Tensor) -> bool:
    """Whether the layer is the classifier: it makes the output from vectors that the body gives."""
    # a traced module prints what fails when it is called
    run = body.forward if isinstance(body, fx.GraphModule) else body
    try:
        vectors = run(features.clone())
        return isinstance(vectors, Tensor) and vectors.dim() == 2 and torch.equal(layer(vectors), output)
    except Exception:  # a layer from the middle, without which the user's code fails
        return False


def _cut_off(tail: nn.Module, path: str) -> tuple[nn.Module, nn.Linear]:
    layer = tail.get_submodule(path)
    assert isinstance(layer, nn.Linear)
    body = copy.deepcopy(tail).eval()
    parent, _, name = path.rpartition(".")
    setattr(body.get_submodule(parent), name, nn.Identity())
    if isinstance(body, fx.GraphModule):
        body.recompile()
    return body, copy.deepcopy(layer)
