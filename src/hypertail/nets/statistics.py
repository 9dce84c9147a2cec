"""Normalisation statistics of a whole set of features, in place of the running average of training steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

CHUNK = 500
"""Features that go through the layers together, at most."""


@torch.no_grad()
def compute_statistics(
    module: nn.Module,
    buffers: Mapping[str, Tensor],
    forward: Callable[[Tensor], object],
    features: Shaped[Tensor, "n ..."],
) -> None:
    """Set the running means and variances of all batch normalisation in `module` to those over `features`.

    A running average forgets at a fixed rate and starts from zero mean and unit variance: after five steps it is still
    nearer to where it began than to the data. These are averages over parts of equal size, each normalised by its own
    statistics, as in training ("precise" statistics; Wu & Johnson, 2021, https://arxiv.org/abs/2105.07576, section 3).

    Args:
        module: has the layers; its mode is left as it was.
        buffers: the statistics, by their names in `module`: tensors that `forward` updates in place.
        forward: applies the module in training mode.
        features: all that the statistics are of. A single one has no variance: nothing is changed then.
    """
    if len(features) < 2:
        return
    layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, _BatchNorm)}
    kept = {name: layer.momentum for name, layer in layers.items()}
    for name, layer in layers.items():
        layer.momentum = None  # a cumulative average, which starts from nothing
        counted = f"{name}.num_batches_tracked" if name else "num_batches_tracked"
        if counted in buffers:
            buffers[counted].zero_()
    try:
        for part in features.tensor_split(-(-len(features) // CHUNK)):
            forward(part)
    finally:
        for name, layer in layers.items():
            layer.momentum = kept[name]
