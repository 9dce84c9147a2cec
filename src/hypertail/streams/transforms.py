"""Batched augmentation: steps on a whole batch or a whole set of images at once.

A step maps (images, generator) to images. Steps compose; those that only move pixels (`RandomCrop`,
`RandomFlip`) keep the dtype and belong first, on uint8, where they are four times cheaper.
Random numbers are drawn on the CPU, one set per image, and moved to the device of the images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

Images = Shaped[Tensor, "n c h w"]


class Step(Protocol):
    """One stage of a transform: images of any dtype in, images out."""

    def __call__(self, images: Images, generator: torch.Generator, /) -> Shaped[Tensor, "n c _ _"]:
        """The changed images."""


@dataclass(frozen=True)
class Compose:
    """The steps one after another, sharing one generator."""

    steps: tuple[Step, ...]

    def __call__(self, images: Images, generator: torch.Generator) -> Shaped[Tensor, "n c _ _"]:
        """The images after the last step."""
        for step in self.steps:
            images = step(images, generator)
        return images


@dataclass(frozen=True)
class RandomCrop:
    """Pad each side by `padding` black pixels, then cut the old size out at a random place for each image."""

    padding: int

    def __call__(self, images: Images, generator: torch.Generator) -> Images:
        """The crops; shape and dtype unchanged."""
        n, _, height, width = images.shape
        places = torch.randint(2 * self.padding + 1, (2, n), generator=generator).to(images.device)
        padded = F.pad(images, (self.padding,) * 4)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view (n, c, places, places, h, w)
        crops: Tensor = windows[torch.arange(n, device=images.device), :, places[0], places[1]]
        return crops


@dataclass(frozen=True)
class RandomFlip:
    """Mirror left and right with probability `probability` per image."""

    probability: float = 0.5

    def __call__(self, images: Images, generator: torch.Generator) -> Images:
        """The images, some of them mirrored; shape and dtype unchanged."""
        flipped = (torch.rand(len(images), generator=generator) < self.probability).to(images.device)
        return torch.where(flipped[:, None, None, None], images.flip(-1), images)


@dataclass(frozen=True)
class ToFloat:
    """uint8 0..255 to float32 0..1."""

    def __call__(self, images: Images, generator: torch.Generator) -> Float[Tensor, "n c h w"]:
        """The images as float32."""
        return images.to(torch.float32).mul_(1 / 255)


@dataclass(frozen=True)
class Normalise:
    """Subtract the mean and divide by the standard deviation of each channel, both on the scale 0..1.

    Takes float images in 0..1, or uint8 images and then scales them in the same pass.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Images, generator: torch.Generator) -> Float[Tensor, "n c h w"]:
        """The normalised images, float32."""
        scale = 255.0 if images.dtype == torch.uint8 else 1.0
        mean, std = (_per_channel(values, images.device) for values in (self.mean, self.std))
        return images.to(torch.float32, copy=True).mul_(1 / (scale * std)).sub_(mean / std)


@dataclass(frozen=True)
class Resize:
    """Bring images to `size` x `size` (bilinear, antialiased); uint8 stays uint8."""

    size: int

    def __call__(self, images: Images, generator: torch.Generator) -> Shaped[Tensor, "n c size size"]:
        """The images, square."""
        if images.shape[-2:] == (self.size, self.size):
            return images
        floats = images.to(torch.float32)
        resized = F.interpolate(floats, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False)
        return resized.round_().clamp_(0, 255).to(torch.uint8) if images.dtype == torch.uint8 else resized


def _per_channel(values: Sequence[float], device: torch.device) -> Float[Tensor, "c 1 1"]:
    return torch.tensor(values, dtype=torch.float32)[:, None, None].to(device)
