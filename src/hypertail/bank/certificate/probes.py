"""Synthetic images by which answers are compared over the years; they are drawn anew each time and never stored."""

from __future__ import annotations

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional as F

from hypertail.seeds import generator

PROBES = 16


def probe_images(size: int, count: int = PROBES) -> UInt8[Tensor, "n 3 s s"]:
    """Smooth random fields from coarse to fine, the same on every machine, (count, 3, size, size).

    They look like nothing, but their features spread as those of photographs do, which white noise does not.
    """
    images = []
    for number in range(count):
        random = generator(0, "probe", number)
        field = torch.zeros(1, 3, size, size, dtype=torch.float64)
        cells = 2 + number % 4
        weight = 1.0
        while cells <= size:
            coarse = torch.randn(1, 3, cells, cells, generator=random, dtype=torch.float64)
            field += weight * F.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=True)
            cells, weight = cells * 2, weight * 0.6
        low, high = field.amin(), field.amax()
        images.append(((field - low) / (high - low).clamp_min(1e-9) * 255).round())
    return torch.cat(images).to(torch.uint8)
