"""Trunk features of a task's images, computed once for each view."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from hypertail.bank.backbone import Backbone
from hypertail.bank.images.task_images import TaskImages
from hypertail.seeds import generator
from hypertail.training.features.spill import Spill

Augment = Literal["none", "crop", "crop-flip"]
PIXELS = 1 << 20
"""Pixels that go through the trunk together."""


class Features:
    """What the frozen trunk makes of the images of a task.

    A view is an augmentation of every image, drawn anew for each view and the same whenever it is computed. Views are
    kept in memory as far as `memory_bytes` allows, then in unnamed temporary files, and computed again where there is
    no room for either.

    Args:
        backbone: of the bank, on `device`.
        images: of the task.
        views: how many there are.
        augment: a view is the image itself (`none`), a random `crop` of the image in a black frame an eighth as wide,
            or a crop that is mirrored half of the time (`crop-flip`).
        seed: of the views.
        device: where features are needed.
        memory_bytes: for features.
        spill: takes what exceeds it.
    """

    def __init__(
        self,
        backbone: Backbone,
        images: TaskImages,
        *,
        views: int,
        augment: Augment,
        seed: int,
        device: str = "cpu",
        memory_bytes: int = 2 << 30,
        spill: Spill | None = None,
    ) -> None:
        self.backbone, self.images, self.augment, self.seed, self.device = backbone, images, augment, seed, device
        self.views = 1 if augment == "none" else views
        self.memory_bytes, self.spill = memory_bytes, spill or Spill()
        self._memory: dict[int, Tensor] = {}
        self._spilled: dict[int, Tensor] = {}

    def plain(self) -> Tensor:
        """Features of the images as they are, (n, ...)."""
        return self._kept(-1)

    def view(self, number: int) -> Tensor:
        """Features of view `number`, (n, ...)."""
        return self.plain() if self.augment == "none" else self._kept(number)

    def close(self) -> None:
        """Let go of what is kept."""
        self._memory.clear()
        self._spilled.clear()

    def _kept(self, view: int) -> Tensor:
        if view in self._memory:
            return self._memory[view]
        if view in self._spilled:
            return self._spilled[view].to(self.device)
        features = self._compute(view)
        if sum(each.nbytes for each in self._memory.values()) + features.nbytes <= self.memory_bytes:
            self._memory[view] = features
        elif (spilled := self.spill.keep(features)) is not None:
            self._spilled[view] = spilled
        return features

    @torch.no_grad()
    def _compute(self, view: int) -> Tensor:
        whole: Tensor | None = None
        for start, pixels in self._pixels():
            if view >= 0:
                pixels = self._augmented(pixels, view, start)
            part = self.backbone.features(pixels.to(self.device, memory_format=torch.channels_last))
            if whole is None:
                whole = _empty(len(self.images), part)
            whole[start : start + len(part)] = part
        assert whole is not None
        return whole

    def _pixels(self) -> Iterator[tuple[int, Tensor]]:
        size = self.backbone.preprocessing.size
        batch = max(1, PIXELS // size**2)
        for start in range(0, len(self.images), batch):
            yield start, self.images.pixels(range(start, min(start + batch, len(self.images))))

    def _augmented(self, pixels: Tensor, view: int, start: int) -> Tensor:
        size = pixels.shape[-1]
        frame = max(1, size // 8)
        padded = F.pad(pixels, (frame,) * 4)
        rows = []
        for number in range(len(pixels)):
            # by row, so that it does not matter which images are read together
            random = generator(self.seed, "augment", view, start + number)
            top, left = torch.randint(2 * frame + 1, (2,), generator=random).tolist()
            cropped = padded[number, :, top : top + size, left : left + size]
            mirrored = self.augment == "crop-flip" and float(torch.rand((), generator=random)) < 0.5
            rows.append(cropped.flip(-1) if mirrored else cropped)
        return torch.stack(rows)


def _empty(count: int, like: Tensor) -> Tensor:
    """Room for the features of all images; those of images lie channels-last."""
    if like.dim() != 4:
        return like.new_empty(count, *like.shape[1:])
    channels, height, width = like.shape[1:]
    return like.new_empty(count, height, width, channels).movedim(-1, 1)
