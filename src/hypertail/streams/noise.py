"""The noises of the noisy stream (section 4.2), on float images in 0..1.

Everything here is elementwise arithmetic or a reduction over one image, so a noisy image is the same to the
last bit whatever its batch neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Images = Float[Tensor, "n c h w"]

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Solarize:
    """Invert every value at or above `threshold`."""

    threshold: float = 0.5

    def __call__(self, images: Images, generator: torch.Generator) -> Images:
        """The solarized images."""
        # |x - 1| is 1 - x for values up to 1; this needs half the memory traffic of a torch.where
        return (images - (images >= self.threshold).to(images.dtype)).abs_()


@dataclass(frozen=True)
class Autocontrast:
    """Stretch each channel of each image so that its values fill 0..1; a constant channel stays as it is."""

    def __call__(self, images: Images, generator: torch.Generator) -> Images:
        """The stretched images."""
        low = images.amin((2, 3), keepdim=True)
        span = images.amax((2, 3), keepdim=True) - low
        constant = span == 0
        return (images - low.masked_fill(constant, 0)) / span.masked_fill(constant, 1)


@dataclass(frozen=True)
class Grayscale:
    """Replace red, green and blue by their luma (ITU-R BT.601), keeping three channels."""

    def __call__(self, images: Images, generator: torch.Generator) -> Images:
        """Grey images with three equal channels."""
        red, green, blue = images.unbind(1)
        grey = red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]
        return grey[:, None].expand_as(images)


@dataclass(frozen=True)
class GaussianBlur:
    """Gaussian blur with one `sigma` (pixels) for all images; the edges are mirrored."""

    kernel_size: int
    sigma: float

    def __call__(self, images: Images, generator: torch.Generator) -> Images:
        """The blurred images."""
        return _blur(images, self.kernel_size, torch.full((1, 1), self.sigma))


@dataclass(frozen=True)
class RandomGaussianBlur:
    """Gaussian blur with a sigma (pixels) drawn uniformly from `low`..`high` for every image."""

    kernel_size: int
    low: float
    high: float

    def __call__(self, images: Images, generator: torch.Generator) -> Images:
        """The blurred images."""
        sigma = torch.empty(len(images), 1).uniform_(self.low, self.high, generator=generator)
        return _blur(images, self.kernel_size, sigma)


def _blur(images: Images, kernel_size: int, sigma: Float[Tensor, "sigmas 1"]) -> Images:
    """Separable blur; `sigma` holds one value per image, or one for all."""
    radius = kernel_size // 2
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernels = torch.exp(-offsets.square() / (2 * sigma.square()))
    kernels = (kernels / kernels.sum(1, keepdim=True)).to(images.device, images.dtype).expand(len(images), -1)
    # On a CPU, blocks of images that stay in cache make this ten times quicker than one pass over all.
    block = 64 if images.device.type == "cpu" else max(1, len(images))
    blurred = torch.empty_like(images, memory_format=torch.contiguous_format)
    for start in range(0, len(images), block):
        rows = slice(start, start + block)
        weights = kernels[rows, :, None, None, None].unbind(1)
        padded = F.pad(images[rows], (radius,) * 4, mode="reflect")
        blurred[rows] = _weighted_shifts(_weighted_shifts(padded, weights, 3), weights, 2)
    return blurred


def _weighted_shifts(images: Images, weights: tuple[Tensor, ...], dim: int) -> Float[Tensor, "n c _ _"]:
    """Sum over i of weights[i] times the images shifted by i along `dim`, where the result is whole."""
    size = images.shape[dim] - len(weights) + 1
    total = images.narrow(dim, 0, size) * weights[0]
    for shift, weight in enumerate(weights[1:], start=1):
        total += images.narrow(dim, shift, size) * weight
    return total
