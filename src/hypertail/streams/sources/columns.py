"""Image and label columns of a hub dataset -> pixels and class ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hypertail.errors import DataError
from hypertail.streams.names import shown
from hypertail.streams.report import LeftOut
from hypertail.streams.sources.decode import Pictures, decode, finished
from hypertail.streams.sources.depth import Scaling
from hypertail.streams.sources.labelled import LabelledImages
from hypertail.streams.sources.unreadable import OnBadImage, Unreadable
from hypertail.streams.stream import Examples

IMAGES = (
    "image",
    "img",
    "pixel_values",
    "picture",
    "photo",
    "images",
    "imgs",
    "pixels",
    "pic",
    "jpg",
    "jpeg",
    "png",
    "webp",
)
LABELS = ("label", "labels", "fine_label", "class", "target", "category", "cls", "class_name", "class_label")
# what lies beside the images of some datasets, and is none to classify
BESIDES = ("mask", "seg", "label", "annotation", "depth", "edge", "thumb")


@dataclass(frozen=True)
class Columns:
    """The image and the label column, and what to say of the choice."""

    image: str
    label: str
    notice: str


@dataclass(frozen=True)
class Wanted:
    """Columns asked for.

    Attributes:
        image, label: taken if they are there, else found by type; None to find them.
        strict: they must be there.
    """

    image: str | None = None
    label: str | None = None
    strict: bool = False


def find_columns(repo: str, features: Mapping[str, Any] | None, wanted: Wanted = Wanted()) -> Columns:
    """The image and the label column: those wanted if they are there, else the usual names first, then by type.

    Raises:
        DataError: there is no such pair; the message lists the columns.
    """
    import datasets

    features = features or {}
    images = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    images = images or [name for name, feature in features.items() if _holds_files(feature)]
    images.sort(key=_image_rank)
    named = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    plain = [name for name, feature in features.items() if _is_plain(feature) and name not in images]
    labels = sorted(named, key=_label_rank) + sorted(
        (name for name in plain if _label_rank(name) < len(LABELS)), key=_label_rank
    )
    wrong = [
        (what, given)
        for what, given, choices in (("image", wanted.image, images), ("label", wanted.label, [*named, *plain]))
        if wanted.strict and given is not None and given not in choices
    ]
    image = wanted.image if wanted.image in images else next(iter(images), None)
    label = wanted.label if wanted.label in (*named, *plain) else next(iter(labels), None)
    if image is None or label is None or wrong:
        found = ", ".join(f"{name} ({_kind(feature)})" for name, feature in features.items())
        raise DataError(
            f"columns of dataset '{repo}'"
            if not wrong
            else f"{wrong[0][0]} column '{wrong[0][1]}' of dataset '{repo}'",
            required=f"an Image column and a label (a ClassLabel, or a column called {', '.join(LABELS)})",
            found=found or "none",
            hint="Choose an image classification dataset, or rename its columns, or name them (image_column, "
            "label_column).",
        )
    return Columns(image, label, f"columns: images from {_choice(image, images)}, labels from {_choice(label, labels)}")


def _choice(chosen: str, choices: list[str]) -> str:
    others = [f"'{name}'" for name in choices if name != chosen]
    return f"'{chosen}'" + (f" (not {', '.join(others)})" if others else "")


def _image_rank(name: str) -> int:
    lower = name.lower()
    if lower in IMAGES:
        return IMAGES.index(lower)
    return len(IMAGES) + any(word in lower for word in BESIDES)


def _label_rank(name: str) -> int:
    lower = name.lower()
    return LABELS.index(lower) if lower in LABELS else len(LABELS)


def _holds_files(feature: Any) -> bool:
    """Bytes of files, or the pair of bytes and path that an Image column is stored as, without saying so."""
    import datasets

    if isinstance(feature, datasets.Value):
        return bool(feature.dtype in ("binary", "large_binary"))
    return isinstance(feature, dict) and set(feature) == {"bytes", "path"}


def _is_plain(feature: Any) -> bool:
    import datasets

    kinds = ("int", "uint", "string", "large_string", "bool")
    return isinstance(feature, datasets.Value) and feature.dtype.startswith(kinds)


def _kind(feature: Any) -> str:
    import datasets

    return str(feature.dtype) if isinstance(feature, datasets.Value) else type(feature).__name__


@dataclass(frozen=True, eq=False)
class SplitImages:
    """One split: its images, each one's class name, all class names in their own order, and what to say of them."""

    pictures: Pictures
    labels: list[str]
    names: tuple[str, ...]
    notices: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


def read_split(
    repo: str,
    name: str,
    split: Any,
    columns: Columns,
    *,
    image_size: int,
    pad: int = 0,
    crop_share: float | None = None,
    on_bad_image: OnBadImage = "error",
) -> SplitImages:
    """Decode a split of a Hugging Face dataset; `pad` and `crop_share` as for `decode`.

    An image that cannot be read is an `error`, or skipped with its label (`on_bad_image`).

    Raises:
        DataError: an unreadable file or image, or an image without a label; the message names split and row.
    """
    import datasets

    label_feature = split.features[columns.label]
    hint = f"Copy '{repo}' again: the file is damaged."
    pictures = Pictures()
    labels: list[Any] = []
    unreadable = Unreadable(on_bad_image)
    row, rows = 0, list[int]()

    def what() -> str:
        return f"image in row {row} of split '{name}' of dataset '{repo}'"

    try:
        table = split.select_columns([columns.image, columns.label])
        table = table.cast_column(columns.image, datasets.Image(decode=False))
        for batch in table.with_format("arrow").iter(batch_size=1000):
            cells = zip(batch[columns.image].to_pylist(), batch[columns.label].to_pylist(), strict=True)
            for cell, label in cells:
                try:
                    decoded = decode(_encoded(cell), image_size, what, hint, pad=pad, crop_share=crop_share)
                except DataError as error:
                    unreadable.meet(error, f"row {row} of split '{name}'")
                else:
                    pictures.rows.append(decoded)
                    labels.append(label)
                    rows.append(row)
                row += 1
    except (DataError, MemoryError):
        raise
    except Exception as cause:  # whatever the readers of parquet, arrow, zip and others raise
        raise DataError(
            f"split '{name}' of dataset '{repo}'",
            required="readable data files",
            found=shown(f"{type(cause).__name__}: {cause}"),
            hint=hint,
        ) from cause
    if not pictures.rows:
        raise DataError(f"split '{name}' of dataset '{repo}'", required="at least one image", found="none", hint=hint)
    named, names = _label_names(repo, name, label_feature, labels, rows)
    # a ClassLabel says -1 of what has no label; without names of classes it is a number as good as others
    minus = isinstance(labels[0], int) and not isinstance(label_feature, datasets.ClassLabel) and -1 in labels
    notices = (f"label -1 in split '{name}' is taken as a class",) if minus else ()
    return SplitImages(pictures, named, names, notices, unreadable.left_out())


def _encoded(cell: Mapping[str, Any] | None) -> bytes | Path:
    if cell and cell["bytes"] is not None:
        return bytes(cell["bytes"])
    return Path(cell["path"]) if cell and cell["path"] else b""


def _label_names(
    repo: str, split: str, feature: Any, labels: list[Any], rows: list[int]
) -> tuple[list[str], tuple[str, ...]]:
    import datasets

    classes = tuple(feature.names) if isinstance(feature, datasets.ClassLabel) else None
    placed = list(zip(rows, labels, strict=True))
    unlabelled = [row for row, label in placed if label is None or label == "" or (classes and label == -1)]
    if unlabelled:
        raise DataError(
            f"labels of split '{split}' of dataset '{repo}'",
            required="a label for every image",
            found=f"{len(unlabelled)} images without one, the first in row {unlabelled[0]}",
            hint="Choose a dataset whose splits are labelled.",
        )
    if classes is None:
        return [str(label) for label in labels], tuple(str(label) for label in sorted(set(labels)))
    strange = [(row, label) for row, label in placed if not 0 <= label < len(classes)]
    if strange:
        raise DataError(
            f"labels of split '{split}' of dataset '{repo}'",
            required=f"0 to {len(classes) - 1}, one for each of its {len(classes)} named classes",
            found=f"{strange[0][1]} in row {strange[0][0]}",
            hint="Name all classes in the dataset's features.",
        )
    return [classes[label] for label in labels], classes


def join_splits(
    repo: str,
    train: SplitImages,
    test: SplitImages | None,
    image_size: int,
    *,
    least_classes: int = 2,
    scaling: Scaling | None = None,
) -> tuple[LabelledImages, tuple[str, ...]]:
    """Number the classes alike in both splits, and scale deep images alike; returns what to say of that, too.

    Classes without a training image are dropped.

    Args:
        repo: name of the dataset.
        train, test: of `read_split`; no test split for None.
        image_size: pixels a side.
        least_classes: that there must be.
        scaling: as for `finished`.

    Raises:
        DataError: fewer classes, or the test split has a class that the training split has not.
    """
    present = set(train.labels)
    classes = tuple(name for name in train.names if name in present)
    if len(classes) < least_classes:
        raise DataError(
            f"classes of dataset '{repo}'",
            required=f"at least {'two' if least_classes == 2 else least_classes} with training images",
            found=", ".join(classes),
            hint="Choose a dataset with more classes, or another label column.",
        )
    strangers = sorted(set(test.labels) - present) if test else []
    if strangers:
        raise DataError(
            f"classes of the test split of dataset '{repo}'",
            required="only classes that the training split has",
            found=f"{len(strangers)} others, such as '{strangers[0]}'",
            hint="Choose a dataset whose splits share their classes.",
        )
    number = {name: index for index, name in enumerate(classes)}

    splits = [train] if test is None else [train, test]
    pixels, notices = finished([split.pictures for split in splits], image_size, scaling)

    def examples(index: int) -> Examples:
        labels = [number[label] for label in splits[index].labels]
        return Examples(pixels[index], torch.tensor(labels, dtype=torch.int64))

    images = LabelledImages(repo, classes, examples(0), examples(1) if test else None)
    return images, (*train.notices, *(test.notices if test else ()), *notices)
