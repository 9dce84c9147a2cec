"""Images as a user hands them over, by path, as PIL images, arrays or tensors -> pixels.

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

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional as F

from hypertail.bank.images.held import crop_share
from hypertail.bank.preprocessing import Preprocessing
from hypertail.errors import DataError
from hypertail.streams.names import shown
from hypertail.streams.sources.decode import Decoded, Pictures, decode_files, finished, of_image, quiet, rules_for
from hypertail.streams.sources.depth import Deep, Rule, Scaling, rules
from hypertail.streams.sources.scan import Tally, images_below


def single(images: object) -> bool:
    """Whether one image is meant, and not several."""
    if isinstance(images, str | os.PathLike):
        return not Path(images).is_dir()
    if isinstance(images, np.ndarray) and images.dtype.kind in "OU":
        return False
    if isinstance(images, Tensor | np.ndarray):
        return images.ndim < 3 or (images.ndim == 3 and (images.shape[0] in (1, 3) or images.shape[-1] in (1, 3, 4)))
    return not isinstance(images, Sequence | Iterator)


def pixel_batches(
    images: object,
    preprocessing: Preprocessing,
    batch: int = 64,
    scaling: Callable[[int], Scaling] = lambda row: {},
) -> Iterator[tuple[UInt8[Tensor, "n 3 s s"], list[str | None]]]:
    """Pixels and paths of images to predict, batch by batch.

    Args:
        images: a path, a PIL image, a tensor or an array; several of them; or a folder, whose images are taken.
        preprocessing: says the size and how it is reached.
        batch: images at a time.
        scaling: rules for the image of a row, if it has more than 8 bits; where none is known, one rule holds for those
            of a batch that have none.

    Raises:
        DataError: there is none, or one cannot be read.
    """
    if isinstance(images, str | os.PathLike):
        place = Path(images)
        found: Any = images_below(place, Tally(place)) if place.is_dir() else [place]
        if not found:
            raise DataError(
                f"folder '{shown(place)}'", required="images in it", found="none", hint="Give a folder of images."
            )
    elif isinstance(images, np.ndarray) and images.dtype.kind in "OU":
        found = list(images.flat)
    elif isinstance(images, Tensor | np.ndarray):
        found = images[None] if single(images) else images
    else:
        found = [images] if single(images) else list(images)  # type: ignore[call-overload]
    for start in range(0, len(found), batch):
        part = found[start : start + batch]
        paths = [shown(str(each)) if isinstance(each, str | os.PathLike) else None for each in part]
        if isinstance(part, Tensor | np.ndarray):
            yield _of_array(part, preprocessing), paths
        else:
            yield _scaled(_decoded(part, preprocessing), scaling, start), paths


def all_pixels(
    images: Any, preprocessing: Preprocessing, known: Scaling | None = None
) -> tuple[UInt8[Tensor, "n 3 s s"], dict[bool, Rule], tuple[str, ...]]:
    """Pixels of n images that belong together, the rules by which those of more than 8 bits were scaled, and notices.

    Args:
        images: an array or a tensor of n images; or paths, PIL images, arrays and tensors of one image each.
        preprocessing: says the size and how it is reached.
        known: rules that hold, whatever the images are.

    Raises:
        DataError: they are of another kind or shape, or one cannot be read.
    """
    if isinstance(images, np.ndarray) and images.dtype.kind in "OU":
        images = list(images.flat)
    if isinstance(images, Tensor | np.ndarray):
        return _of_array(images, preprocessing), {}, ()
    pictures = _decoded(images, preprocessing)
    scaling = rules_for([pictures], known)
    (pixels,), notices = finished([pictures], preprocessing.size, scaling)
    return pixels, scaling, notices


def _decoded(images: Sequence[Any], preprocessing: Preprocessing) -> Pictures:
    if all(isinstance(each, str | os.PathLike) for each in images):
        files = [Path(each) for each in images]
        return decode_files(files, preprocessing.size, crop_share=crop_share(preprocessing))[0]
    with quiet():
        return Pictures([_one(each, preprocessing) for each in images])


def _one(image: Any, preprocessing: Preprocessing) -> Decoded:
    from PIL import Image

    share = crop_share(preprocessing)
    if isinstance(image, str | os.PathLike):
        return decode_files([Path(image)], preprocessing.size, crop_share=share)[0].rows[0]
    if isinstance(image, Tensor | np.ndarray):
        return Decoded(_of_array(image[None], preprocessing)[0])
    if isinstance(image, Image.Image):
        return of_image(
            image,
            preprocessing.size,
            lambda: f"PIL image of mode {image.mode}",
            "Give another image, or convert it: image.convert('RGB').",
            crop_share=share,
        )
    raise DataError(
        "image",
        required="a path, a PIL image, a tensor or an array",
        found=type(image).__name__,
        hint="Convert it to one of them.",
    )


def _scaled(pictures: Pictures, scaling: Callable[[int], Scaling], start: int) -> Tensor:
    known = {
        row: scaling(start + row) for row, picture in enumerate(pictures.rows) if isinstance(picture.content, Deep)
    }
    contents = [picture.content for picture in pictures.rows]
    rest = rules(
        content for row, content in enumerate(contents) if isinstance(content, Deep) and content.whole not in known[row]
    )
    return torch.stack([
        {**rest, **known[row]}[content.whole].apply(content.values).expand(3, -1, -1)
        if isinstance(content, Deep)
        else content
        for row, content in enumerate(contents)
    ])  # fmt: skip


def _of_array(images: Tensor | npt.NDArray[Any], preprocessing: Preprocessing) -> Tensor:
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
        return torch.from_numpy(np.ascontiguousarray(images))
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
