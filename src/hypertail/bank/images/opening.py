"""Images of a task from whatever the user has: a folder, a dataset, or arrays."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional as F

from hypertail.bank.images.folder import open_folder
from hypertail.bank.images.held import ImagesInMemory, crop_share, read_files
from hypertail.bank.images.task_images import TaskImages
from hypertail.bank.preprocessing import Preprocessing
from hypertail.errors import DataError
from hypertail.seeds import generator
from hypertail.streams.digest import content_digest
from hypertail.streams.names import shown
from hypertail.streams.report import left_out_lines, plural
from hypertail.streams.sources.columns import find_columns, join_splits, read_split
from hypertail.streams.sources.scan import Tally, images_below
from hypertail.streams.sources.unreadable import OnBadImage
from hypertail.streams.stream import Examples

MEMORY = 512 << 20
"""Bytes of images that are held in memory; more are read from their files in batches."""


def open_images(
    data: object,
    preprocessing: Preprocessing,
    *,
    classes: tuple[str, ...] | None = None,
    least_classes: int = 2,
    memory_bytes: int = MEMORY,
    on_bad_image: OnBadImage = "error",
) -> TaskImages:
    """The images of a task.

    Args:
        data: a folder of class folders; a `datasets.Dataset` with an image and a label column; `(images, labels)` or
            `(images, labels, names of classes)`, where images are arrays or tensors (n, 3, h, w), (n, h, w, 3) or
            (n, h, w), PIL images or paths; or what this function gave.
        preprocessing: says the size and how it is reached.
        classes: of the task, where it is known: labels index them then.
        least_classes: that the data must have.
        memory_bytes: that the images of a folder may take.
        on_bad_image: what to do with an image of a folder or dataset that cannot be read: end with an `error`, or
            `skip` and list it in the notices.

    Raises:
        DataError: the data cannot be used.
    """
    if isinstance(data, TaskImages):
        images = data
    elif isinstance(data, str | os.PathLike):
        images = open_folder(
            Path(data),
            preprocessing,
            least_classes=1 if classes else least_classes,
            memory_bytes=memory_bytes,
            on_bad_image=on_bad_image,
        )
    elif hasattr(data, "features") and hasattr(data, "cast_column"):
        images = _of_dataset(data, preprocessing, on_bad_image)
    elif isinstance(data, tuple | list) and len(data) in (2, 3):
        images = _of_arrays(data[0], data[1], data[2] if len(data) == 3 else None, preprocessing)
    else:
        raise DataError(
            "images of a task",
            required="a folder of class folders, a datasets.Dataset, or (images, labels)",
            found=type(data).__name__,
            hint="Of several splits, give one: dataset['train'].",
        )
    if len(images.classes) < least_classes and classes is None:
        raise DataError(
            "classes of a task",
            required=f"{least_classes} or more",
            found=", ".join(images.classes) or "none",
            hint="Put at least two classes into a task; one more class for an old task goes by extend.",
        )
    return images if classes is None else _as(images, classes)


def _as(images: TaskImages, classes: tuple[str, ...]) -> TaskImages:
    """The same images with labels that index `classes`."""
    foreign = [name for name in images.classes if name not in classes]
    if foreign:
        raise DataError(
            "validation images",
            required=f"classes of the training images ({', '.join(classes)})",
            found=", ".join(foreign),
            hint="Name the class folders alike.",
        )
    rows = torch.tensor([classes.index(name) for name in images.classes])
    return replace(images, classes=classes, labels=rows[images.labels])


def hold_out(images: TaskImages, share: float, seed: int) -> tuple[TaskImages, TaskImages]:
    """`(kept, held out)`: the same share of every class, at least one image of a class that has two.

    A class with a single image keeps it. Which images are held out follows from their content and the seed.
    """
    kept: list[int] = []
    held: list[int] = []
    lonely = []
    for label, name in enumerate(images.classes):
        rows = (images.labels == label).nonzero()[:, 0]
        if len(rows) < 2:
            lonely += [name] * len(rows)
            kept += rows.tolist()
            continue
        order = rows[torch.randperm(len(rows), generator=generator(seed, "hold out", name))].tolist()
        count = min(max(1, round(share * len(rows))), len(rows) - 1)
        held += order[:count]
        kept += order[count:]
    train = images.subset(sorted(kept))
    if lonely:
        words = f"nothing is held out of {plural(len(lonely), 'class', 'classes')} with one image: {', '.join(lonely)}"
        train = replace(train, notices=(*train.notices, words))
    return train, images.subset(sorted(held))


def single(images: object) -> bool:
    """Whether one image is meant, and not several."""
    if isinstance(images, str | os.PathLike):
        return not Path(images).is_dir()
    if isinstance(images, Tensor | np.ndarray):
        return images.ndim < 4 and not (images.ndim == 3 and images.shape[-1] != 3 and images.shape[0] not in (1, 3))
    return not isinstance(images, Sequence | Iterator)


def pixel_batches(
    images: object, preprocessing: Preprocessing, batch: int = 64
) -> Iterator[tuple[UInt8[Tensor, "n 3 s s"], list[str | None]]]:
    """Pixels and paths of images to predict, batch by batch.

    Args:
        images: a path, a PIL image, a tensor or an array; several of them; or a folder, whose images are taken.
        preprocessing: says the size and how it is reached.
        batch: images at a time.

    Raises:
        DataError: there is none, or one cannot be read.
    """
    if isinstance(images, str | os.PathLike):
        place = Path(images)
        found: Sequence[Any] = images_below(place, Tally(place)) if place.is_dir() else [place]
        if not found:
            raise DataError(
                f"folder '{shown(place)}'", required="images in it", found="none", hint="Give a folder of images."
            )
    elif isinstance(images, Tensor | np.ndarray):
        found = images[None] if single(images) else images  # type: ignore[assignment]
    else:
        found = [images] if single(images) else list(images)  # type: ignore[call-overload]
    for start in range(0, len(found), batch):
        part = found[start : start + batch]
        paths = [shown(str(each)) if isinstance(each, str | os.PathLike) else None for each in part]
        yield to_pixels(part, preprocessing), paths


def to_pixels(images: Any, preprocessing: Preprocessing) -> UInt8[Tensor, "n 3 s s"]:
    """Arrays, tensors, PIL images or paths as uint8 at the size of `preprocessing`.

    Raises:
        DataError: they are of another kind or shape.
    """
    if isinstance(images, np.ndarray):
        images = torch.from_numpy(np.ascontiguousarray(images))
    if isinstance(images, Tensor):
        return _of_tensor(images, preprocessing)
    if all(isinstance(each, str | os.PathLike) for each in images):
        return read_files([Path(each) for each in images], preprocessing)
    return torch.cat([_one(each, preprocessing) for each in images])


def _one(image: Any, preprocessing: Preprocessing) -> Tensor:
    if isinstance(image, str | os.PathLike):
        return read_files([Path(image)], preprocessing)
    if isinstance(image, Tensor | np.ndarray):
        return to_pixels(image[None], preprocessing)
    if hasattr(image, "convert") and hasattr(image, "getbands"):
        import io

        from hypertail.streams.sources.decode import Pictures, decode, finished

        stream = io.BytesIO()
        image.save(stream, format="TIFF" if image.mode.startswith(("I", "F")) else "PNG")
        read = decode(
            stream.getvalue(),
            preprocessing.size,
            lambda: "image",
            "Give another image.",
            crop_share=crop_share(preprocessing),
        )
        return finished([Pictures([read])], preprocessing.size)[0][0]
    raise DataError(
        "image",
        required="a path, a PIL image, a tensor or an array",
        found=type(image).__name__,
        hint="Convert it to one of them.",
    )


def _of_tensor(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    if images.ndim == 3:
        images = images.unsqueeze(1)
    if images.ndim == 4 and images.shape[1] not in (1, 3) and images.shape[-1] in (1, 3):
        images = images.movedim(-1, 1)
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise DataError(
            "images in an array",
            required="shape (n, 3, h, w), (n, h, w, 3), (n, 1, h, w) or (n, h, w)",
            found=str(tuple(images.shape)),
            hint="Put colours second or last.",
        )
    if images.dtype == torch.uint8:
        values = images
    elif images.is_floating_point():
        low, high = (float(images.min()), float(images.max())) if images.numel() else (0.0, 1.0)
        if low < 0 or high > 1:
            raise DataError(
                "images in an array of floats",
                required="values from 0 to 1, not normalised: the bank does that",
                found=f"{low:g} to {high:g}",
                hint="Give uint8 0..255, or divide by 255.",
            )
        values = (images * 255).round().to(torch.uint8)
    else:
        raise DataError(
            "images in an array", required="uint8 or floats", found=str(images.dtype), hint="Convert to uint8."
        )
    values = values.expand(-1, 3, -1, -1)
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


def _of_arrays(images: Any, labels: Any, names: Any, preprocessing: Preprocessing) -> TaskImages:
    values = labels.tolist() if isinstance(labels, Tensor | np.ndarray) else list(labels)
    if len(values) != len(images) or not values:
        raise DataError(
            "labels of the images",
            required="one for each of at least one image",
            found=f"{len(values)} labels for {len(images)} images",
            hint="Give images and labels of equal number.",
        )
    if names is not None:
        classes = tuple(str(name) for name in names)
        strange = [value for value in values if not (isinstance(value, int) and 0 <= value < len(classes))]
        if strange:
            raise DataError(
                "labels of the images",
                required=f"whole numbers 0 to {len(classes) - 1}, for the names of classes that were given",
                found=f"others, such as {strange[0]!r}",
                hint="Number the classes in the order of their names.",
            )
        numbers = values
    else:
        try:
            order = sorted(set(values))
        except TypeError:
            order = sorted(set(values), key=str)
        classes = tuple(str(value) for value in order)
        numbers = [order.index(value) for value in values]
    pixels = to_pixels(images, preprocessing)
    present = sorted(set(numbers))
    kept = tuple(classes[number] for number in present)
    examples = Examples(pixels, torch.tensor([present.index(number) for number in numbers], dtype=torch.int64))
    return ImagesInMemory(kept, examples.labels, content_digest(kept, {"train": examples}), data=examples.images)


def _of_dataset(data: Any, preprocessing: Preprocessing, on_bad_image: OnBadImage) -> TaskImages:
    columns = find_columns("given", data.features)
    split = read_split(
        *("given", "train", data, columns),
        image_size=preprocessing.size,
        crop_share=crop_share(preprocessing),
        on_bad_image=on_bad_image,
    )
    images, notices = join_splits("given", split, None, preprocessing.size)
    digest = content_digest(images.classes, {"train": images.train})
    said = (columns.notice, *notices, *left_out_lines(split.left_out))
    return ImagesInMemory(images.classes, images.train.labels, digest, said, data=images.train.images)
