"""Image files and encoded bytes -> pixels of one size, deep images (`depth`) not yet scaled."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from hypertail.errors import DataError
from hypertail.streams.names import shown
from hypertail.streams.sources.depth import Deep, Rule, Scaling, finite, rules
from hypertail.streams.sources.formats import readable
from hypertail.streams.sources.unreadable import Unreadable

if TYPE_CHECKING:
    from PIL.Image import Image, Transpose

Pixels = UInt8[Tensor, "n 3 size size"]

MEND = "Replace or delete that file."


@dataclass(frozen=True, eq=False)
class Decoded:
    """One image: its pixels, uint8 (3, size, size), or what is to be scaled to them.

    `narrowed` marks an image of 16 bits a channel in colour, of which Pillow reads the upper 8.
    """

    content: UInt8[Tensor, "3 size size"] | Deep
    narrowed: bool = False


class Pictures:
    """Decoded images, one a row, until `finished` scales the deep ones among them."""

    def __init__(self, rows: list[Decoded] | None = None) -> None:
        self.rows: list[Decoded] = rows or []

    def __len__(self) -> int:
        """Number of images."""
        return len(self.rows)


def read_images(files: Sequence[str | Path], image_size: int) -> Pixels:
    """Read image files of any size and kind as RGB, (n, 3, image_size, image_size).

    Images of another size are squeezed to the square (bilinear, antialiased; nothing is cut off), turned
    upright by their EXIF tag where it can be read, and laid on white where transparent. Images of more than 8 bits
    are scaled by one rule for all `files` (`hypertail.streams.sources.depth`).

    Raises:
        DataError: a file is not a readable image; the message names it.
    """
    pictures, _, _ = decode_files([Path(file) for file in files], image_size)
    return finished([pictures], image_size)[0][0]


def decode_files(
    files: Sequence[Path],
    image_size: int,
    *,
    crop_share: float | None = None,
    unreadable: Unreadable | None = None,
) -> tuple[Pictures, list[bytes], list[int]]:
    """The images in files, a digest of each one's bytes, and which of `files` they are: all, unless some are skipped.

    Args:
        files: to read.
        image_size: pixels a side.
        crop_share: as for `decode`.
        unreadable: meets what is no readable image; None for an error.

    Raises:
        DataError: a file is not a readable image; the message names it.
    """
    meet = (unreadable or Unreadable()).meet

    def one(path: Path) -> tuple[Decoded, bytes] | DataError:
        def what() -> str:
            return f"image '{shown(path)}'"

        try:
            content = path.read_bytes()
        except OSError as cause:
            raise _unreadable(what(), cause, MEND) from cause
        try:
            image = decode(content, image_size, what, MEND, crop_share=crop_share)
        except DataError as error:
            return error
        return image, hashlib.blake2b(content, digest_size=16).digest()

    # Pillow decodes outside the interpreter lock, so photographs are read on all cores.
    with quiet(), ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(one, files))
    images, digests, kept = list[Decoded](), list[bytes](), list[int]()
    for row, result in enumerate(found):
        if isinstance(result, DataError):
            meet(result, shown(files[row]))
            continue
        images.append(result[0])
        digests.append(result[1])
        kept.append(row)
    return Pictures(images), digests, kept


def decode(
    source: bytes | Path,
    image_size: int,
    what: Callable[[], str],
    hint: str,
    *,
    pad: int = 0,
    crop_share: float | None = None,
) -> Decoded:
    """One image as `read_images` gives it.

    Args:
        source: the file, or its bytes.
        image_size: pixels a side.
        what: names the image in errors.
        hint: of errors.
        pad: first adds a black frame of so many pixels.
        crop_share: take the middle square alone, of this share of the shorter side; None squeezes the whole image.

    Raises:
        DataError: `source` is not a readable image; `what()` names it.
    """
    from PIL import Image

    try:
        with Image.open(source if isinstance(source, Path) else io.BytesIO(source), formats=readable()) as opened:
            # lets JPEG skip detail far below the wanted size: much quicker on photographs
            opened.draft("RGB", (2 * image_size, 2 * image_size))
            return of_image(opened, image_size, what, hint, pad=pad, crop_share=crop_share)
    except (MemoryError, DataError):
        raise
    except Exception as cause:  # Pillow's readers raise many kinds
        raise _unreadable(what(), cause, hint) from cause


def of_image(
    opened: Image, image_size: int, what: Callable[[], str], hint: str, *, pad: int = 0, crop_share: float | None = None
) -> Decoded:
    """An image that Pillow has opened, as `decode` gives its file; it is not changed.

    Args:
        opened: by the caller, who closes it.
        image_size, what, hint, pad, crop_share: as for `decode`.

    Raises:
        DataError: it cannot be read; `what()` names it.
    """
    from PIL import Image, ImageOps

    size = (image_size, image_size)
    try:
        narrowed = opened.mode in ("RGB", "RGBA", "LA") and ";16" in str(getattr(opened, "tile", ""))
        opened.load()
        deep = opened.mode.startswith(("I", "F"))
        turn = _turn(opened)
        image = _values(opened) if deep else opened
        if turn is not None:
            image = image.transpose(turn)
        if not deep:
            image = _rgb(image)
    except MemoryError:
        raise
    except Exception as cause:  # Pillow's readers and conversions raise many kinds
        raise _unreadable(what(), cause, hint) from cause
    low, high = image.getextrema() if deep else (0, 0)
    if pad:
        image = ImageOps.expand(image, pad)
    if image.size != size or crop_share not in (None, 1.0):
        image = image.resize(size, Image.Resampling.BILINEAR, box=_middle(image.size, crop_share))
    if deep:
        values = torch.from_numpy(np.array(image, dtype=np.float32))
        return Decoded(Deep(values, float(low), float(high), whole=opened.mode != "F"))  # type: ignore[arg-type]
    return Decoded(torch.from_numpy(np.array(image)).permute(2, 0, 1), narrowed)


def _middle(size: tuple[int, int], share: float | None) -> tuple[float, float, float, float] | None:
    """The box of the middle square; None for all of the image."""
    if share is None:
        return None
    (width, height), side = size, min(size) * share
    return (width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2


def rules_for(parts: Iterable[Pictures], known: Scaling | None = None) -> dict[bool, Rule]:
    """One rule for the deep images of all parts (`rules`)."""
    images = itertools.chain.from_iterable(part.rows for part in parts)
    return rules((image.content for image in images if isinstance(image.content, Deep)), known)


def finished(
    parts: Sequence[Pictures], image_size: int, scaling: Scaling | None = None
) -> tuple[list[Pixels], tuple[str, ...]]:
    """The pixels of each part, deep images scaled by one rule for all parts, and a sentence for each rule used.

    Empties the parts.

    Args:
        parts: images at their final size.
        image_size: pixels a side.
        scaling: of `rules_for`; None to find it.
    """
    scaling = rules_for(parts) if scaling is None else scaling
    notices = [rule.words for rule in scaling.values()]
    narrowed = sum(image.narrowed for part in parts for image in part.rows)
    if narrowed:
        notices.append(f"{narrowed} images of 16 bits a channel in colour: read at their upper 8 bits")
    stacks = []
    for part in parts:
        pixels = torch.empty(len(part), 3, image_size, image_size, dtype=torch.uint8)
        for row in reversed(range(len(part))):
            content = part.rows.pop().content  # so that no image is held twice for long
            pixels[row] = scaling[content.whole].apply(content.values) if isinstance(content, Deep) else content
        stacks.append(pixels)
    return stacks, tuple(notices)


@contextmanager
def quiet() -> Iterator[None]:
    """Pillow's warnings about odd tags, which no user can act on, are not shown inside the block."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
        yield


def _unreadable(what: str, cause: Exception, hint: str) -> DataError:
    from PIL import UnidentifiedImageError

    # Pillow prints the object that it read, which says nothing
    told = "bytes of no image format that is known" if isinstance(cause, UnidentifiedImageError) else str(cause)
    return DataError(what, required="a readable image", found=shown(f"{type(cause).__name__}: {told}"), hint=hint)


def _turn(image: Image) -> Transpose | None:
    """How to turn the image upright; None where it is, or where its tags are too broken to say."""
    from PIL.Image import Transpose as Turn

    try:
        orientation = image.getexif().get(0x0112)
    except Exception:  # broken tags raise many kinds; the pixels are whole
        return None
    turns = {
        2: Turn.FLIP_LEFT_RIGHT,
        3: Turn.ROTATE_180,
        4: Turn.FLIP_TOP_BOTTOM,
        5: Turn.TRANSPOSE,
        6: Turn.ROTATE_270,
        7: Turn.TRANSVERSE,
        8: Turn.ROTATE_90,
    }
    return turns.get(orientation) if isinstance(orientation, int) else None


def _values(image: Image) -> Image:
    """A deep image as floats."""
    from PIL import Image as Images

    return Images.fromarray(finite(np.asarray(image).astype(np.float32)))


def _rgb(image: Image) -> Image:
    from PIL import Image as Images

    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA"):
        image = image.convert("RGBA")
        image = Images.alpha_composite(Images.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
