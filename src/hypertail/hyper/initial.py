"""What a generated tail starts from."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from hypertail.errors import ConfigError
from hypertail.hyper.heads import ChannelHead, SeparableHead
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


@torch.no_grad()
def scale_to_he(
    heads: Mapping[str, SeparableHead],
    hidden: Float[Tensor, "tasks hidden"],
    shapes: Mapping[str, tuple[int, ...]],
    classifier: str | None,
) -> None:
    """Scale every head so that what it generates has He variance, 2 / fan-in, or 1 / fan-in for the classifier.

    Args:
        heads: by the name of what they generate.
        hidden: of some tasks.
        shapes: of what is generated.
        classifier: the name of its weight.
    """
    for name, head in heads.items():
        fan_in = math.prod(shapes[name][1:])
        gain = 1.0 if name == classifier else math.sqrt(2.0)
        scale = gain / math.sqrt(fan_in) / head(hidden).std(correction=0).clamp_min(1e-12)
        head.linear.weight.mul_(scale)
        head.linear.bias.mul_(scale)


@torch.no_grad()
def start_from_base(
    heads: Mapping[str, SeparableHead], shapes: Mapping[str, tuple[int, ...]], base: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Set channel-wise heads of what is in `base` to generate zeros, and give copies of the weights they add to.

    Args:
        heads: by the name of what they generate.
        shapes: of what is generated.
        base: weights by name.

    Raises:
        ConfigError: a weight of another shape.
    """
    kept = {}
    for name, head in heads.items():
        if name not in base or not isinstance(head, ChannelHead):
            continue
        if tuple(base[name].shape) != shapes[name]:
            raise ConfigError(
                f"base of '{name}'",
                required=f"shape {shapes[name]}",
                found=f"shape {tuple(base[name].shape)}",
                hint="Give the weights of the tail that is generated.",
            )
        nn.init.zeros_(head.linear.weight)
        nn.init.zeros_(head.linear.bias)
        # laid out in memory like what is added to it
        layout = torch.channels_last if base[name].dim() == 4 else torch.contiguous_format
        kept[name] = base[name].detach().to(head.linear.weight).clone(memory_format=layout)
    return kept
