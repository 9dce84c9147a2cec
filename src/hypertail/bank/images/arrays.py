"""Images in arrays and tensors -> pixels.

What the axes of an array or a tensor mean:

| shape | meaning |
|---|---|
| (h, w) | one grey image |
| (3, h, w), (1, h, w) | one image, channels first |
| (h, w, 3), (h, w, 1), (h, w, 4) | one image, channels last; the fourth is alpha |
| (n, h, w) | n grey images |
| (n, 3, h, w), (n, 1, h, w) | n images, channels first |
| (n, h, w, 3), (n, h, w, 1), (n, h, w, 4) | n images, channels last; the fourth is alpha |

Where two rows fit, channels first holds. With labels there are always n images, so that (3, h, w) is three grey ones.
What is transparent is laid on white, as it is of files.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from hypertail.bank.images.held import crop_share
from hypertail.bank.preprocessing import Preprocessing
from hypertail.errors import DataError


def of_array(images: Tensor | npt.NDArray[Any], preprocessing: Preprocessing) -> Tensor:
    """Several images in one array as uint8, (n, 3, size, size)."""
    values = _on_white(_bytes(_channels_first(_tensor(images)))).expand(-1, 3, -1, -1)
    share = crop_share(preprocessing)
    if share is not None:
        side = max(1, round(min(values.shape[-2:]) * share))
        top, left = (values.shape[-2] - side) // 2, (values.shape[-1] - side) // 2
        values = values[..., top : top + side, left : left + side]
    size = (preprocessing.size, preprocessing.size)
    if tuple(values.shape[-2:]) != size:
        floats = F.interpolate(values.float(), size, mode="bilinear", antialias=True, align_corners=False)
        values = floats.round().clamp(0, 255).to(torch.uint8)
    return values.contiguous()


def _tensor(images: Tensor | npt.NDArray[Any]) -> Tensor:
    if isinstance(images, Tensor):
        return images.detach().cpu()
    try:
        # not of memory that may not be written to, such as a PIL image's: torch warns of it
        return torch.from_numpy(np.require(images, requirements=("C", "W")))
    except TypeError as cause:
        raise _of_kind(str(images.dtype)) from cause


def _channels_first(images: Tensor) -> Tensor:
    """(n, 1, 3 or 4, h, w)."""
    if images.ndim == 3:
        images = images.unsqueeze(1)
    elif images.ndim == 4 and images.shape[1] not in (1, 3) and images.shape[-1] in (1, 3, 4):
        return images.movedim(-1, 1)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape[1:]:
        raise DataError(
            "images in an array",
            required="shape (n, 3, h, w), (n, h, w, 3), (n, 1, h, w) or (n, h, w)",
            found=str(tuple(images.shape)),
            hint="Put colours second or last.",
        )
    return images


def _bytes(images: Tensor) -> Tensor:
    """Values 0 to 255."""
    if images.dtype == torch.uint8:
        return images
    if not images.is_floating_point():
        raise _of_kind(str(images.dtype))
    if not bool(images.isfinite().all()):
        bad = int((~images.isfinite()).sum())
        raise DataError(
            "images in an array of floats",
            required="finite values from 0 to 1",
            found=f"{bad} of {images.numel()} values that are infinite or no number",
            hint="Look at how they were made.",
        )
    low, high = (float(images.min()), float(images.max())) if images.numel() else (0.0, 1.0)
    if low < 0 or high > 1:
        raise DataError(
            "images in an array of floats",
            required="values from 0 to 1, not normalised: the bank does that",
            found=f"{low:g} to {high:g}",
            hint="Give uint8 0..255, or divide by 255.",
        )
    return (images * 255).round().to(torch.uint8)


def _on_white(images: Tensor) -> Tensor:
    """Without the alpha channel, where there is one."""
    if images.shape[1] != 4:
        return images
    alpha = images[:, 3:].float() / 255
    return (images[:, :3] * alpha + 255 * (1 - alpha)).round().clamp(0, 255).to(torch.uint8)


def _of_kind(found: str) -> DataError:
    return DataError("images in an array", required="uint8 or floats", found=found, hint="Convert to uint8.")
