"""Image files and encoded bytes -> uint8 RGB pixels of one size."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from hypertail.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = UInt8[Tensor, "n 3 size size"]


def read_images(files: Sequence[str | Path], image_size: int) -> Pixels:
    """Read image files of any size and kind as RGB, (n, 3, image_size, image_size).

    Images of another size are squeezed to the square (bilinear, antialiased; nothing is cut off), turned
    upright by their EXIF tag, and laid on white where transparent.

    Raises:
        DataError: a file is not a readable image; the message names it.
    """
    pixels = torch.empty(len(files), 3, image_size, image_size, dtype=torch.uint8)

    def fill(row: int) -> None:
        path = Path(files[row])
        pixels[row] = decode(path, image_size, lambda: f"image '{path}'", "Replace or delete that file.")

    # Pillow decodes outside the interpreter lock, so photographs are read on all cores.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(fill, range(len(files))):
            pass
    return pixels


def decode(
    source: bytes | Path, image_size: int, what: Callable[[], str], mend: str, *, pad: int = 0
) -> UInt8[Tensor, "3 size size"]:
    """One image as `read_images` gives it; `pad` first adds a black frame of that many pixels.

    Raises:
        DataError: `source` is not a readable image; `what()` names it.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(source if isinstance(source, Path) else io.BytesIO(source)) as opened:
            # lets JPEG skip detail far below the wanted size: much quicker on photographs
            opened.draft("RGB", (2 * image_size, 2 * image_size))
            ImageOps.exif_transpose(opened, in_place=True)
            image = _rgb(opened)
    except Exception as cause:  # Pillow's readers raise many kinds
        raise DataError(
            what(), required="a readable image", found=f"{type(cause).__name__}: {cause}", mend=mend
        ) from cause
    if pad:
        image = ImageOps.expand(image, pad)
    if image.size != (image_size, image_size):
        image = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _rgb(image: Image) -> Image:
    from PIL import Image as Images

    if image.mode.startswith("I"):  # 16 bits a pixel, which convert() would clip at 255
        image = Images.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8))
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA"):
        image = image.convert("RGBA")
        image = Images.alpha_composite(Images.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
