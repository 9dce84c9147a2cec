"""Standardised features at the cut between trunk and tail."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Standardise(nn.Module):
    """Subtract a mean and divide by a standard deviation per channel, both fixed once by `fit`.

    The last stage of a frozen trunk: generated tails then see inputs of unit scale whatever the trunk.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    @torch.no_grad()
    def fit(self, batches: Iterable[Float[Tensor, "_ channels ..."]]) -> None:
        """Set mean and standard deviation from features; channels that never vary keep scale 1."""
        count, total, squares = 0, torch.zeros(()), torch.zeros(())
        for batch in batches:
            values = batch.detach().double().movedim(1, -1).flatten(0, -2)
            count += values.shape[0]
            total = total.to(values.device) + values.sum(0)
            squares = squares.to(values.device) + (values**2).sum(0)
        mean = total / count
        std = (squares / count - mean**2).clamp_min(0).sqrt()
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))

    def forward(self, x: Float[Tensor, "batch channels *rest"]) -> Float[Tensor, "batch channels *rest"]:
        """Standardised features."""
        shape = (1, -1) + (1,) * (x.dim() - 2)
        return (x - self.mean.view(shape)) / self.std.view(shape)
