"""A learned tail in fewer bytes: statistics folded into scales and shifts, numbers rounded to half precision."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hypertail.nets.classifier import parameter_at
from hypertail.nets.tensors import BufferDict

LARGEST_HALF = 6e4
"""Larger numbers stay in single precision."""


class Foldable(NamedTuple):
    """A layer of batch normalisation whose statistics can go into its scale and shift.

    Attributes:
        scale, shift, mean, var: the names of its tensors.
        eps: of the layer.
    """

    scale: str
    shift: str
    mean: str
    var: str
    eps: float


def foldable(body: nn.Module, vectors: Container[str]) -> list[Foldable]:
    """The layers of batch normalisation whose scale and shift are among the names `vectors`."""
    found = []
    for path, layer in body.named_modules():
        scale, shift = parameter_at(path, "weight"), parameter_at(path, "bias")
        if isinstance(layer, _BatchNorm) and layer.track_running_stats and scale in vectors and shift in vectors:
            mean, var = parameter_at(path, "running_mean"), parameter_at(path, "running_var")
            found.append(Foldable(scale, shift, mean, var, layer.eps))
    return found


@torch.no_grad()
def fold_statistics(layers: Iterable[Foldable], vectors: Mapping[str, Tensor], statistics: BufferDict) -> None:
    """Move statistics into scales and shifts, in place; evaluation gives the same function.

        scale' = scale / sqrt(var + eps),    shift' = shift - mean scale',    mean' = 0,    var' = 1 - eps.

    Args:
        layers: of `foldable`.
        vectors: scales and shifts by name.
        statistics: means and variances by name.
    """
    for layer in layers:
        scale = vectors[layer.scale] / (statistics[layer.var] + layer.eps).sqrt()
        vectors[layer.shift].sub_(statistics[layer.mean] * scale)
        vectors[layer.scale].copy_(scale)
        set_folded(layer, statistics)


@torch.no_grad()
def set_folded(layer: Foldable, statistics: BufferDict) -> None:
    """Give a layer the statistics that change nothing."""
    statistics[layer.mean].zero_()
    statistics[layer.var].fill_(1 - layer.eps)


@torch.no_grad()
def round_to_half(module: nn.Module) -> None:
    """Round parameters to numbers that half precision can hold, in place; those with larger numbers stay."""
    for parameter in module.parameters():
        parameter.copy_(halved(parameter).to(parameter.dtype))


def halved(tensor: Tensor) -> Tensor:
    """The tensor in half precision, where its numbers fit and it is one of single precision."""
    if tensor.dtype != torch.float32 or not bool((tensor.abs() < LARGEST_HALF).all()):
        return tensor
    return tensor.half()


COARSEST = 1 / 256
"""Half precision is too coarse for means where rounding moves them by more than this share of the deviations."""


def halved_means(means: Tensor, deviations: Tensor) -> Tensor:
    """Means in half precision, where that moves them little beside how far vectors lie around them.

    Half precision has eleven bits: of vectors with a large common offset it would leave nothing of what tells classes
    apart. Both are compared as root mean squares.

    Args:
        means: (classes, width), float32.
        deviations: around the means, (width,) or (classes, width).
    """
    half = halved(means)
    moved = (half.double() - means.double()).square().mean().sqrt()
    return half if bool(moved <= COARSEST * deviations.double().square().mean().sqrt()) else means


def flattened(module: nn.Module) -> Tensor:
    """All parameters of a module one after another, as few bytes as they take."""
    values = [parameter.detach().flatten().cpu() for parameter in module.parameters()]
    return halved(torch.cat(values)) if values else torch.zeros(0)


@torch.no_grad()
def unflatten(flat: Tensor, module: nn.Module) -> None:
    """Give a module the parameters that `flattened` took from one like it.

    Raises:
        ValueError: another number of them.
    """
    parameters = list(module.parameters())
    if flat.dim() != 1 or len(flat) != sum(parameter.numel() for parameter in parameters):
        raise ValueError(f"{flat.numel()} numbers for {sum(parameter.numel() for parameter in parameters)}")
    start = 0
    for parameter in parameters:
        parameter.copy_(flat[start : start + parameter.numel()].view(parameter.shape))
        start += parameter.numel()
