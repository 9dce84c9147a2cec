"""Images as a user hands them over, by path, encoded, as PIL images, arrays or tensors -> pixels."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from hypertail.bank.images.arrays import of_array
from hypertail.bank.images.encoded import is_encoded, of_encoded
from hypertail.bank.images.held import crop_share
from hypertail.bank.preprocessing import Preprocessing
from hypertail.errors import DataError
from hypertail.streams.names import shown
from hypertail.streams.sources.decode import Decoded, Pictures, decode_files, finished, of_image, quiet, rules_for
from hypertail.streams.sources.depth import Deep, Rule, Scaling, rules
from hypertail.streams.sources.scan import Tally, images_below
from hypertail.streams.sources.unreadable import OnBadImage, Unreadable


def single(images: object) -> bool:
    """Whether one image is meant, and not several."""
    if isinstance(images, str | os.PathLike):
        return not Path(images).is_dir()
    if isinstance(images, np.ndarray) and images.dtype.kind in "OU":
        return False
    if isinstance(images, Tensor | np.ndarray):
        return images.ndim < 3 or (images.ndim == 3 and (images.shape[0] in (1, 3) or images.shape[-1] in (1, 3, 4)))
    return is_encoded(images) or not isinstance(images, Sequence | Iterator)


class PixelBatch(NamedTuple):
    """Images that were read together.

    Attributes:
        pixels: of those that could be read.
        paths: of all of them; None of one that is no file.
        errors: row -> why it could not be read.
    """

    pixels: UInt8[Tensor, "n 3 s s"]
    paths: list[str | None]
    errors: dict[int, DataError]


def pixel_batches(
    images: object,
    preprocessing: Preprocessing,
    batch: int = 64,
    scaling: Callable[[int], Scaling] = lambda row: {},
) -> Iterator[tuple[UInt8[Tensor, "n 3 s s"], list[str | None]]]:
    """Pixels and paths of images to predict, batch by batch, all of which must be readable (`read_batches`)."""
    for found in read_batches(images, preprocessing, batch, scaling):
        yield found.pixels, found.paths


def read_batches(
    images: object,
    preprocessing: Preprocessing,
    batch: int = 64,
    scaling: Callable[[int], Scaling] = lambda row: {},
    on_bad_image: OnBadImage = "error",
) -> Iterator[PixelBatch]:
    """Images to predict, batch by batch.

    Args:
        images: a path, bytes of an image file, an open one, a PIL image, a tensor or an array; several of them; or a
            folder, whose images are taken.
        preprocessing: says the size and how it is reached.
        batch: images at a time.
        scaling: rules for the image of a row, if it has more than 8 bits; where none is known, one rule holds for those
            of a batch that have none.
        on_bad_image: with a file or bytes that cannot be read: end with an `error`, or `skip` and give the error.

    Raises:
        DataError: there is none, or one cannot be read.
    """
    Unreadable(on_bad_image)
    if isinstance(images, str | os.PathLike):
        found: Any = image_files(Path(images))
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
            yield PixelBatch(of_array(part, preprocessing), paths, {})
            continue
        met = _Met(on_bad_image)
        pictures, kept = _read(part, preprocessing, met)
        rows = [start + row for row in kept]
        pixels = (
            _scaled(pictures, scaling, rows)
            if rows
            else torch.zeros(0, 3, preprocessing.size, preprocessing.size).byte()
        )
        bad = [row for row in range(len(part)) if row not in set(kept)]
        yield PixelBatch(pixels, paths, dict(zip(bad, met.errors, strict=True)))


def image_files(place: Path) -> list[Path]:
    """The path of a file alone, or those of all images in a folder.

    Raises:
        DataError: there is none in the folder.
    """
    if not place.is_dir():
        return [place]
    found = images_below(place, Tally(place))
    if not found:
        raise DataError(
            f"folder '{shown(place)}'", required="images in it", found="none", hint="Give a folder of images."
        )
    return found


class Together(NamedTuple):
    """Images that belong together.

    Attributes:
        pixels: of those that could be read.
        scaling: the rules by which those of more than 8 bits were scaled.
        notices: on how.
        kept: which of the images they are.
    """

    pixels: UInt8[Tensor, "n 3 s s"]
    scaling: dict[bool, Rule]
    notices: tuple[str, ...]
    kept: Sequence[int]


def all_pixels(
    images: Any, preprocessing: Preprocessing, known: Scaling | None = None, unreadable: Unreadable | None = None
) -> Together:
    """Pixels of images that belong together.

    Args:
        images: an array or a tensor of n images; or paths, bytes of image files, open ones, PIL images, arrays
            and tensors of one image each.
        preprocessing: says the size and how it is reached.
        known: rules that hold, whatever the images are.
        unreadable: meets encoded images that cannot be read; None for an error.

    Raises:
        DataError: they are of another kind or shape, or one cannot be read; or none can.
    """
    if isinstance(images, np.ndarray) and images.dtype.kind in "OU":
        images = list(images.flat)
    if isinstance(images, Tensor | np.ndarray):
        return Together(of_array(images, preprocessing), {}, (), range(len(images)))
    return _finished(*_read(images, preprocessing, unreadable or Unreadable()), preprocessing, known)


def each_pixels(
    images: Iterable[Any], preprocessing: Preprocessing, known: Scaling | None, unreadable: Unreadable
) -> Together:
    """The same of images that come one by one, of which only the pixels are held."""
    return _finished(*_read_one_by_one(images, preprocessing, unreadable), preprocessing, known)


def _finished(pictures: Pictures, kept: list[int], preprocessing: Preprocessing, known: Scaling | None) -> Together:
    if not kept:
        raise DataError(
            "images", required="at least one that can be read", found="none", hint="Look at the files: are they images?"
        )
    scaling = rules_for([pictures], known)
    (pixels,), notices = finished([pictures], preprocessing.size, scaling)
    return Together(pixels, scaling, notices, kept)


class _Met(Unreadable):
    """Keeps the errors, in order."""

    def __init__(self, policy: OnBadImage) -> None:
        super().__init__(policy)
        self.errors: list[DataError] = []

    def meet(self, error: DataError, name: str) -> None:
        super().meet(error, name)
        self.errors.append(error)


def _read(images: Sequence[Any], preprocessing: Preprocessing, unreadable: Unreadable) -> tuple[Pictures, list[int]]:
    """The images that can be read, and which they are."""
    if all(isinstance(each, str | os.PathLike) for each in images):
        files = [Path(each) for each in images]
        share = crop_share(preprocessing)
        pictures, _, kept = decode_files(files, preprocessing.size, crop_share=share, unreadable=unreadable)
        return pictures, kept
    return _read_one_by_one(images, preprocessing, unreadable)


def _read_one_by_one(
    images: Iterable[Any], preprocessing: Preprocessing, unreadable: Unreadable
) -> tuple[Pictures, list[int]]:
    rows, kept = [], []
    with quiet():
        for number, each in enumerate(images):
            try:
                rows.append(_one(each, preprocessing))
            except DataError as error:
                if isinstance(each, Tensor | np.ndarray) or not _known(each):
                    raise  # no matter of one image that is damaged
                unreadable.meet(error, shown(str(each)) if isinstance(each, str | os.PathLike) else f"number {number}")
                continue
            kept.append(number)
    return Pictures(rows), kept


def _known(image: object) -> bool:
    from PIL import Image

    return isinstance(image, str | os.PathLike | Image.Image) or is_encoded(image)


def _one(image: Any, preprocessing: Preprocessing) -> Decoded:
    from PIL import Image

    share = crop_share(preprocessing)
    if isinstance(image, str | os.PathLike):
        return decode_files([Path(image)], preprocessing.size, crop_share=share)[0].rows[0]
    if isinstance(image, Tensor | np.ndarray):
        return Decoded(of_array(image[None], preprocessing)[0])
    if isinstance(image, Image.Image):
        return of_image(
            image,
            preprocessing.size,
            lambda: f"PIL image of mode {image.mode}",
            "Give another image, or convert it: image.convert('RGB').",
            crop_share=share,
        )
    if is_encoded(image):
        return of_encoded(image, preprocessing)
    raise DataError(
        "image",
        required="a path, the bytes of an image file, an open one, a PIL image, a tensor or an array",
        found=type(image).__name__,
        hint="Convert it to one of them.",
    )


def _scaled(pictures: Pictures, scaling: Callable[[int], Scaling], rows: Sequence[int]) -> Tensor:
    """The pixels of images at `rows`."""
    known = {
        number: scaling(row)
        for number, (row, picture) in enumerate(zip(rows, pictures.rows, strict=True))
        if isinstance(picture.content, Deep)
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
