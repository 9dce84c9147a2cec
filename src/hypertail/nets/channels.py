"""Where a layer has its channels."""

from __future__ import annotations

from torch import nn
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
