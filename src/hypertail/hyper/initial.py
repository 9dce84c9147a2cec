"""What the one-dimensional parameters of a generated tail start from."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from hypertail.errors import ConfigError
from hypertail.nets.classifier import parameter_at


def initial_values(tail: nn.Module, base: Collection[str] = ()) -> dict[str, Tensor]:
    """What the task tables of a tail start from: the vectors and scalars that it has.

    Biases of linear layers and convolutions are an exception, and start at zero: their weights are generated, and
    start anew whatever the tail had learned, so that a bias fitted to other weights means nothing, as do the random
    ones that torch gives a fresh layer.

    Args:
        tail: features -> logits.
        base: names of weights that do not start anew; the biases beside them keep their values.
    """
    values = {name: parameter.detach() for name, parameter in tail.named_parameters() if parameter.dim() < 2}
    for path, layer in tail.named_modules():
        kept = parameter_at(path, "weight") in base
        if isinstance(layer, nn.Linear | _ConvNd) and layer.bias is not None and not kept:
            name = parameter_at(path, "bias")
            values[name] = torch.zeros_like(values[name])
    return values


def table_start(name: str, shape: tuple[int, ...], initial: Mapping[str, Tensor]) -> Float[Tensor, " size"]:
    """What every row of the table of a parameter starts from.

    Raises:
        ConfigError: an initial value of another size.
    """
    size = math.prod(shape)
    value = initial.get(name)
    if value is None:
        return torch.zeros(size)
    if value.numel() != size:
        raise ConfigError(
            f"initial value of '{name}'",
            required=f"{size} numbers",
            found=f"shape {tuple(value.shape)}",
            hint="Give the values of the tail that is generated (Hypernetwork.for_tail).",
        )
    return value.flatten()
