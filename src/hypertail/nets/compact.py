"""A learned tail in fewer bytes: statistics folded into scales and shifts, numbers rounded to half precision."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hypertail.nets.classifier import parameter_at
from hypertail.nets.tensors import BufferDict

LARGEST_HALF = 6e4
"""Larger numbers stay in single precision."""


@torch.no_grad()
def fold_statistics(body: nn.Module, vectors: Mapping[str, Tensor], statistics: BufferDict) -> None:
    """Move the statistics of batch normalisation into its scales and shifts: evaluation gives the same function.

        scale' = scale / sqrt(var + eps),    shift' = shift - mean scale',    mean' = 0,    var' = 1 - eps.

    `num_batches_tracked` becomes 0. Statistics of layers whose scale and shift are not among `vectors` stay.

    Args:
        body: has the layers.
        vectors: scales and shifts by their names in the body; changed in place.
        statistics: by their names in the body; changed in place.
    """
    for path, layer in body.named_modules():
        names = [parameter_at(path, name) for name in ("weight", "bias", "running_mean", "running_var")]
        weight, bias, mean, var = names
        if not isinstance(layer, _BatchNorm) or not (weight in vectors and bias in vectors and mean in statistics):
            continue
        scale = vectors[weight] / (statistics[var] + layer.eps).sqrt()
        vectors[bias].sub_(statistics[mean] * scale)
        vectors[weight].copy_(scale)
        statistics[mean].zero_()
        statistics[var].fill_(1 - layer.eps)
        counted = parameter_at(path, "num_batches_tracked")
        if counted in statistics:
            statistics[counted].zero_()


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
