"""Standardised features at the cut between trunk and tail."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hypertail.errors import ConfigError


class Standardise(nn.Module):
    """Subtract a mean and divide by a standard deviation per channel, both fixed once by `fit`.

    The last stage of a frozen trunk: generated tails then see inputs of unit scale whatever the trunk.

    Args:
        channels: how many channels the features have.
        axis: where they are: 1 for images (n, channels, h, w) and vectors (n, channels), -1 for tokens
            (n, tokens, channels).

    Raises:
        ConfigError: the axis of the batch.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int, axis: int = 1) -> None:
        super().__init__()
        if axis == 0:
            raise ConfigError(
                "axis of the channels",
                required="an axis after the first, which is that of the batch",
                found="0",
                hint="Give 1 for images, or -1 for tokens of (n, tokens, channels).",
            )
        self.axis = axis
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    @torch.no_grad()
    def fit(self, batches: Iterable[Float[Tensor, "..."]]) -> None:
        """Set mean and standard deviation from features; channels that never vary keep scale 1.

        Args:
            batches: features (n, channels), (n, channels, ...) or, for axis -1, (n, ..., channels).

        Raises:
            ConfigError: no features, or features that do not have `channels` entries along `axis`.
        """
        count, total, squares = 0, torch.zeros(()), torch.zeros(())
        for batch in batches:
            self._check(batch)
            values = batch.detach().double().movedim(self.axis, -1).flatten(0, -2)
            count += values.shape[0]
            total = total.to(values.device) + values.sum(0)
            squares = squares.to(values.device) + (values**2).sum(0)
        if not count:
            raise ConfigError(
                "mean and deviation of features",
                required="at least one feature",
                found="none",
                hint="Fit on the features of the first experience.",
            )
        mean = total / count
        std = (squares / count - mean**2).clamp_min(0).sqrt()
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Standardised features.

        Raises:
            ConfigError: features that do not have `channels` entries along `axis`.
        """
        self._check(x)
        shape = [1] * x.dim()
        shape[self.axis] = -1
        return (x - self.mean.view(shape)) / self.std.view(shape)

    def extra_repr(self) -> str:
        """Channels and axis, as printed."""
        return f"{len(self.mean)}, axis={self.axis}"

    def _check(self, x: Tensor) -> None:
        there = x.dim() > 1 and -x.dim() < self.axis < x.dim()
        if not there or x.shape[self.axis] != len(self.mean):
            raise ConfigError(
                "features to standardise",
                required=f"{len(self.mean)} channels along axis {self.axis}",
                found=f"features of shape {tuple(x.shape)}",
                hint="Channels are axis 1 of images and axis -1 of tokens: build Standardise(channels, axis).",
            )


class Restore(nn.Module):
    """What `Standardise` was given: the first stage of a tail that learned from features as they were.

    Args:
        standardise: fitted.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, standardise: Standardise) -> None:
        super().__init__()
        self.axis = standardise.axis
        self.register_buffer("mean", standardise.mean.clone())
        self.register_buffer("std", standardise.std.clone())

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Features on their own scale."""
        shape = [1] * x.dim()
        shape[self.axis] = -1
        return x * self.std.view(shape) + self.mean.view(shape)
