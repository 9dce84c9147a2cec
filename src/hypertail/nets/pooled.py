"""Features as vectors that do not depend on where something is in an image."""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


def pooled(features: Shaped[Tensor, "n ..."], axis: int = 1) -> Float[Tensor, "n width"]:
    """Mean and standard deviation of each channel over positions, (n, 2 channels); vectors as they are.

    Args:
        features: (n, channels, h, w), tokens (n, tokens, channels), or vectors (n, channels).
        axis: where the channels are.
    """
    if features.dim() == 2:
        return features
    positions = features.movedim(axis, -1).flatten(1, -2)
    return torch.cat((positions.mean(1), positions.std(1, correction=0)), dim=1)
