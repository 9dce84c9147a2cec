"""Where a layer has its channels."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from hypertail.errors import ConfigError

NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm)
"""Normalisation layers; batch and instance normalisation are `_NormBase`."""


def channel_axis(layer: nn.Module) -> int:
    """The axis of inputs and outputs of `layer` that counts channels: the last, -1, or the one after the batch, 1.

    The shape alone does not tell: features of tokens (n, tokens, width) may have as many tokens as channels.

    Raises:
        ConfigError: a layer of another kind.
    """
    if isinstance(layer, nn.Linear | nn.LayerNorm | nn.RMSNorm):
        return -1
    if isinstance(layer, _ConvNd | _NormBase | nn.GroupNorm | nn.LocalResponseNorm):
        return 1
    raise ConfigError(
        f"channels of a {type(layer).__name__}",
        required="a linear layer, a convolution or a normalisation layer",
        found=type(layer).__name__,
        hint="Name the axis of the channels yourself.",
    )


def feature_axis(module: nn.Module, features: Tensor) -> int:
    """The axis of the features that a module takes which counts channels, 1 or -1.

    The first layer with parameters tells it by its kind and its size, since pooling or a permutation may stand before
    it. Otherwise maps (n, channels, h, w) have channels after the batch, and tokens (n, tokens, channels) last.
    """
    maps = features.dim() == 4
    for layer in module.modules():
        if not any(True for _ in layer.parameters(recurse=False)):
            continue
        try:
            axis = channel_axis(layer)
        except ConfigError:  # a layer of another kind
            continue
        fitting = [each for each in (1, -1) if features.shape[each] == _size(layer)]
        if len(fitting) == 1:
            return fitting[0]
        # a linear layer may as well stand above maps that were pooled
        return 1 if maps and (isinstance(layer, nn.Linear) or not fitting) else axis
    return 1 if maps else -1


def _size(layer: nn.Module) -> int | None:
    """How many channels a layer takes; None where it normalises over several axes."""
    if isinstance(layer, nn.LayerNorm | nn.RMSNorm):
        return int(layer.normalized_shape[0]) if len(layer.normalized_shape) == 1 else None
    names = ("in_features", "in_channels", "num_features", "num_channels")
    return next((int(getattr(layer, name)) for name in names if hasattr(layer, name)), None)
