"""The fixed part of a bank: a model cut in two, without its classifier."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from hypertail.bank.preprocessing import Preprocessing


@dataclass(frozen=True, eq=False)
class Backbone:
    """A trunk and the pretrained tail above it. Both are in evaluation mode and never learn.

    Attributes:
        trunk: preprocessed images (n, 3, size, size) -> features.
        body: features -> (n, width): the model's own tail with its own values, without its classifier.
        preprocessing: from pixels to what the trunk takes.
        width: numbers that the body gives for an image.
        source: as the user named it: `slim-resnet18`, `transformers:NAME`, `timm:NAME`, or `given` for a module.
        cut: the name of the module where the model was cut; "" where trunk and tail were given apart.
        facts: whatever else it takes to build it again, as JSON can hold it; no paths.
        stored: whether a bank keeps its tensors, so that it opens without the model.
        axis: of the features, which counts channels: 1 or -1; None for that of the first layer of the body.
    """

    trunk: nn.Module
    body: nn.Module
    preprocessing: Preprocessing
    width: int
    source: str = "given"
    cut: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    stored: bool = False
    axis: int | None = None

    def __post_init__(self) -> None:
        for part in (self.trunk, self.body):
            part.requires_grad_(False)
            part.eval()

    def tensors(self) -> dict[str, Tensor]:
        """All parameters and buffers, also those that are in no state dict: `trunk.NAME` and `body.NAME`."""
        found: dict[str, Tensor] = {}
        for part, module in (("trunk", self.trunk), ("body", self.body)):
            named = (*module.named_parameters(), *module.named_buffers())
            found |= {f"{part}.{name}": value.detach() for name, value in named}
        return found

    @cached_property
    def digest(self) -> str:
        """Follows from the names and the bits of all tensors, from the preprocessing and the cut."""
        digest = hashlib.blake2b(repr((self.cut, self.preprocessing, self.width)).encode(), digest_size=16)
        for name, tensor in sorted(self.tensors().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    @torch.no_grad()
    def features(self, pixels: Tensor) -> Tensor:
        """What the trunk makes of uint8 images (n, 3, size, size)."""
        features: Tensor = self.trunk(self.preprocessing(pixels))
        return features
