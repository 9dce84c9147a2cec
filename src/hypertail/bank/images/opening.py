"""Images of a task from whatever the user has: a folder, a dataset, or arrays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hypertail.bank.images.folder import open_folder
from hypertail.bank.images.held import ImagesInMemory, crop_share
from hypertail.bank.images.labels import numbered
from hypertail.bank.images.pairs import is_dataset, names_of, of_no_kind, pairs_of
from hypertail.bank.images.pixels import Together, all_pixels, each_pixels
from hypertail.bank.images.task_images import TaskImages
from hypertail.bank.preprocessing import Preprocessing
from hypertail.errors import DataError
from hypertail.seeds import generator
from hypertail.streams.digest import content_digest
from hypertail.streams.report import left_out_lines, plural
from hypertail.streams.sources.columns import find_columns, join_splits, read_split
from hypertail.streams.sources.decode import rules_for
from hypertail.streams.sources.depth import Scaling
from hypertail.streams.sources.unreadable import OnBadImage, Unreadable
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
    scaling: Scaling | None = None,
    with_test: bool = True,
) -> TaskImages:
    """The images of a task.

    Args:
        data: a folder of class folders; a `datasets.Dataset` with an image and a label column; `(images, labels)` or
            `(images, labels, names of classes)`, where images are an array or a tensor (`images.arrays`), or a list of
            PIL images, paths, bytes of image files or arrays; a map-style torch Dataset of (image, label) pairs; or
            what this function gave.
        preprocessing: says the size and how it is reached.
        classes: of the task, where it is known: labels index them then.
        least_classes: that the data must have.
        memory_bytes: that the images of a folder may take.
        on_bad_image: what to do with an encoded image that cannot be read: end with an `error`, or `skip` it and list
            it in the notices.
        scaling: rules for images of more than 8 bits, as those found that the task learned from; None to find them.
        with_test: also open what lies in `test/` of a folder.

    Raises:
        DataError: the data cannot be used.
    """
    known, least = scaling or {}, 1 if classes else least_classes
    if isinstance(data, TaskImages):
        images = data
    elif isinstance(data, str | os.PathLike):
        images = open_folder(
            Path(data),
            preprocessing,
            least_classes=least,
            memory_bytes=memory_bytes,
            on_bad_image=on_bad_image,
            known=known,
            with_test=with_test,
        )
    elif hasattr(data, "features") and hasattr(data, "cast_column"):
        images = _of_dataset(data, preprocessing, least, on_bad_image, known)
    elif is_dataset(data):
        images = _of_pairs(data, preprocessing, on_bad_image, known)
    elif isinstance(data, tuple | list) and len(data) in (2, 3):
        names = data[2] if len(data) == 3 else None
        images = _of_arrays(data[0], data[1], names, preprocessing, on_bad_image, known)
    else:
        raise of_no_kind(data)
    if len(images.classes) < least:
        raise DataError(
            "classes of a task",
            required=f"{least_classes} or more",
            found=_told(images.classes),
            hint="Put at least two classes into a task; one more class for an old task goes by extend.",
        )
    images = replace(images, scaling={**known, **images.scaling})
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


def _of_arrays(
    images: Any, labels: Any, names: Any, preprocessing: Preprocessing, on_bad_image: OnBadImage, known: Scaling
) -> TaskImages:
    if isinstance(images, Iterator) or isinstance(labels, Iterator):
        raise DataError(
            "images and labels",
            required="lists, arrays or tensors, which can be read again",
            found=f"{type(images).__name__} and {type(labels).__name__}",
            hint="Make lists of them: (list(images), list(labels)).",
        )
    classes, numbers = numbered(labels, names, len(images))
    unreadable = Unreadable(on_bad_image)
    return _labelled(all_pixels(images, preprocessing, known, unreadable), classes, numbers, unreadable)


def _of_pairs(data: Any, preprocessing: Preprocessing, on_bad_image: OnBadImage, known: Scaling) -> TaskImages:
    """Those of a map-style torch Dataset, each decoded as it comes."""
    labels: list[Any] = []
    unreadable = Unreadable(on_bad_image)
    found = each_pixels(pairs_of(data, labels, unreadable), preprocessing, known, unreadable)
    return _labelled(found, *numbered(labels, names_of(data, labels), len(labels)), unreadable)


def _labelled(found: Together, classes: tuple[str, ...], numbers: list[int], unreadable: Unreadable) -> TaskImages:
    """Pixels with their classes, of which only those stay that occur.

    Args:
        found: the images that could be read.
        classes: names.
        numbers: the class of each image, also of those that could not.
        unreadable: what met these.
    """
    notices = (*found.notices, *left_out_lines(unreadable.left_out()))
    numbers = [numbers[row] for row in found.kept]
    present = sorted(set(numbers))
    names = tuple(classes[number] for number in present)
    examples = Examples(found.pixels, torch.tensor([present.index(number) for number in numbers], dtype=torch.int64))
    digest = content_digest(names, {"train": examples})
    return ImagesInMemory(names, examples.labels, digest, notices, scaling=found.scaling, data=examples.images)


def _told(classes: tuple[str, ...]) -> str:
    names = ", ".join(f"'{name}'" for name in classes)
    return f"{plural(len(classes), 'class', 'classes')} ({names})" if classes else "none"


def _of_dataset(
    data: Any, preprocessing: Preprocessing, least_classes: int, on_bad_image: OnBadImage, known: Scaling
) -> TaskImages:
    columns = find_columns("given", data.features)
    split = read_split(
        *("given", "train", data, columns),
        image_size=preprocessing.size,
        crop_share=crop_share(preprocessing),
        on_bad_image=on_bad_image,
    )
    scaling = rules_for([split.pictures], known)
    images, notices = join_splits(
        "given", split, None, preprocessing.size, least_classes=least_classes, scaling=scaling
    )
    digest = content_digest(images.classes, {"train": images.train})
    said = (columns.notice, *notices, *left_out_lines(split.left_out))
    return ImagesInMemory(images.classes, images.train.labels, digest, said, scaling=scaling, data=images.train.images)
