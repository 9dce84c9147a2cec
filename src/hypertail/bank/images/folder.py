"""A folder of class folders as the images of a task, whatever its size."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from hypertail.bank.images.held import ImagesInMemory, ImagesOnDisk, crop_share
from hypertail.bank.images.task_images import TaskImages
from hypertail.bank.preprocessing import Preprocessing
from hypertail.streams.digest import content_digest
from hypertail.streams.names import printable, shown
from hypertail.streams.report import DatasetReport, counts_of, plural
from hypertail.streams.sources.brightness import brightness_notices
from hypertail.streams.sources.decode import Pictures, decode_files, finished, rules_for
from hypertail.streams.sources.depth import Deep, Scaling, rules
from hypertail.streams.sources.folders import ClassFiles, check_classes, scan_folder
from hypertail.streams.sources.unreadable import OnBadImage, Unreadable
from hypertail.streams.stream import Examples

SCANNED = 256
"""Files that are looked at together where they are too many to hold."""


def open_folder(
    path: str | Path,
    preprocessing: Preprocessing,
    *,
    least_classes: int,
    memory_bytes: int,
    on_bad_image: OnBadImage = "error",
    known: Scaling | None = None,
    with_test: bool = True,
) -> TaskImages:
    """The training images of a folder (`scan_folder`), with those of its test folder as `test`.

    They are held in memory where they fit; else every file is read once to see that it is an image and how deep it is,
    and again whenever it is needed.

    Args:
        path: the folder.
        preprocessing: says the size and how it is reached.
        least_classes: that it must have.
        memory_bytes: that the images may take.
        on_bad_image: what to do with a file that cannot be read: end with an `error`, or `skip` and list it.
        known: rules for images of more than 8 bits that hold, whatever the images are.
        with_test: also open those of its test folder; else they are only counted.

    Raises:
        DataError: as `image_folder`.
    """
    found = scan_folder(path, least_classes=least_classes)
    classes = tuple(sorted(printable(name) for name in found.train))
    opening = (found.train, found.test if with_test else None)
    parts = [_listed(part, classes) for part in opening if part is not None]
    count = sum(len(part) for part in parts)
    small = count * 3 * preprocessing.size**2 <= memory_bytes
    unreadable = Unreadable(on_bad_image)
    opened, notices = (_held if small else _left)(parts, classes, preprocessing, unreadable, known or {})
    check_classes(found.root, classes, opened[0].labels, unreadable)
    counts = {
        name: counts_of(images.labels.tolist(), classes)
        for name, images in zip(("train", "test"), opened, strict=False)
    }
    left_out = (*found.left_out, *unreadable.left_out())
    report = DatasetReport(found.root.name, shown(found.root.name), counts, left_out=left_out)
    test = opened[1] if len(opened) > 1 else None
    count = sum(map(len, (found.test or {}).values()))
    beside = [f"{plural(count, 'image')} of test/: not learned from (evaluate and certify take them)"] if count else []
    return replace(opened[0], notices=(*report.lines(), *found.notices, *notices, *beside), test=test)


Listed = list[tuple[int, Path]]


def _listed(files: ClassFiles, classes: tuple[str, ...]) -> Listed:
    return [(classes.index(printable(name)), path) for name, group in files.items() for path in group]


def _held(
    parts: list[Listed], classes: tuple[str, ...], preprocessing: Preprocessing, unreadable: Unreadable, known: Scaling
) -> tuple[list[TaskImages], tuple[str, ...]]:
    pictures, labels = [], []
    for listed in parts:
        read, digests, kept = decode_files(
            [path for _, path in listed],
            preprocessing.size,
            crop_share=crop_share(preprocessing),
            unreadable=unreadable,
        )
        listed = [listed[row] for row in kept]
        order = _order(listed, digests)
        pictures.append(Pictures([read.rows[row] for row in order]))
        labels.append(_labels(listed, order))
    scaling = rules_for(pictures, known)
    pixels, notices = finished(pictures, preprocessing.size, scaling)
    images: list[TaskImages] = []
    examples = [Examples(part, of) for part, of in zip(pixels, labels, strict=True)]
    for part in examples:
        digest = content_digest(classes, {"train": part})
        images.append(ImagesInMemory(classes, part.labels, digest, scaling=scaling, data=part.images))
    return images, (*notices, *brightness_notices(tuple(examples)))


def _left(
    parts: list[Listed], classes: tuple[str, ...], preprocessing: Preprocessing, unreadable: Unreadable, known: Scaling
) -> tuple[list[TaskImages], tuple[str, ...]]:
    deep: list[Deep] = []
    found: list[tuple[Listed, list[int], list[bytes]]] = []
    for listed in parts:
        digests: list[bytes] = []
        whole: Listed = []
        for start in range(0, len(listed), SCANNED):
            some = listed[start : start + SCANNED]
            read, of_files, kept = decode_files([path for _, path in some], 1, unreadable=unreadable)
            digests += of_files
            whole += [some[row] for row in kept]
            deep += [row.content for row in read.rows if isinstance(row.content, Deep)]
        found.append((whole, _order(whole, digests), digests))
    scaling = rules(deep, known)
    images: list[TaskImages] = []
    for listed, order, digests in found:
        ordered = tuple(listed[row][1] for row in order)
        labels = _labels(listed, order)
        digest = _digest(((classes[label], digests[row]) for row, (label, _) in enumerate(listed)), preprocessing.size)
        images.append(
            ImagesOnDisk(classes, labels, digest, scaling=scaling, files=ordered, preprocessing=preprocessing)
        )
    return images, tuple(rule.words for rule in scaling.values())


def _order(listed: Listed, digests: list[bytes]) -> list[int]:
    # by class, then by content: neither names nor places of files decide anything
    return sorted(range(len(listed)), key=lambda row: (listed[row][0], digests[row]))


def _labels(listed: Listed, order: list[int]) -> Tensor:
    return torch.tensor([listed[row][0] for row in order], dtype=torch.int64)


def _digest(rows: Iterable[tuple[str, bytes]], size: int) -> str:
    whole = hashlib.blake2b(json.dumps([size]).encode(), digest_size=16)
    for name, digest in sorted(rows):
        whole.update(json.dumps(name).encode() + digest)
    return whole.hexdigest()
