"""The vector by which an image finds its task: what the frozen model makes of it, whatever was learned."""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from hypertail.bank.backbone import Backbone
from hypertail.errors import ConfigError
from hypertail.nets.channels import channel_axis
from hypertail.nets.pooled import pooled
from hypertail.seeds import generator

WIDEST = 1024
"""Wider vectors are projected at random to so many numbers."""


class Descriptor:
    """Means and deviations over positions of what the trunk gives, beside what the pretrained body makes of it.

    It depends on the backbone alone, so that vectors of different tasks and years can be compared.

    Args:
        backbone: of the bank.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self._axis = _axis_of(backbone.body) if backbone.axis is None else backbone.axis

    @torch.no_grad()
    def __call__(self, features: Shaped[Tensor, "n ..."], chunk: int = 256) -> Float[Tensor, "n width"]:
        """The vectors of many features."""
        return torch.cat([self._of(part) for part in features.split(chunk)])

    def _of(self, features: Tensor) -> Tensor:
        vectors: Tensor = torch.cat((pooled(features, self._axis), self.backbone.body(features)), dim=1).float()
        if vectors.shape[1] <= WIDEST:
            return vectors
        projected: Tensor = vectors @ projection(vectors.shape[1], vectors.device, vectors.dtype)
        return projected


@lru_cache(maxsize=4)
def projection(width: int, device: torch.device, dtype: torch.dtype) -> Float[Tensor, "width narrow"]:
    """The random matrix that makes vectors of that width narrower; the same in every process, and not to be changed."""
    drawn = torch.randn(width, WIDEST, generator=generator(0, "descriptor", width))
    matrix: Tensor = drawn.to(device, dtype) / WIDEST**0.5
    return matrix


def _axis_of(body: nn.Module) -> int:
    """Where the features that a body takes have their channels: that of its first layer.

    So it was taken in banks that do not say it; their moments are of vectors that were pooled so.
    """
    for layer in body.modules():
        if any(True for _ in layer.parameters(recurse=False)):
            try:
                return channel_axis(layer)
            except ConfigError:  # a layer of another kind
                continue
    return -1
