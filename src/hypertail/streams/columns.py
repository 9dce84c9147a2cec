"""Image and label columns of a hub dataset -> pixels and class ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hypertail.errors import DataError
from hypertail.streams.decode import decode
from hypertail.streams.labelled import LabelledImages
from hypertail.streams.stream import Examples

LABELS = ("label", "labels", "fine_label", "class", "target", "category")


def find_columns(
    repo: str, features: Mapping[str, Any] | None, image: str | None = None, label: str | None = None
) -> tuple[str, str]:
    """The names of the image and the label column: those given if they are there, else found by type.

    Raises:
        DataError: there is no such pair; the message lists the columns.
    """
    import datasets

    features = features or {}
    images = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    named = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    named.sort(key=lambda name: LABELS.index(name) if name in LABELS else len(LABELS))
    plain = [name for name in LABELS if name in features and _is_plain(features[name])]
    image_column = image if image in images else next(iter(images), None)
    label_column = label if label in features else next(iter(named + plain), None)
    if image_column is None or label_column is None:
        found = ", ".join(f"{name} ({_kind(feature)})" for name, feature in features.items())
        raise DataError(
            f"columns of dataset '{repo}'",
            required=f"an Image column and a label (a ClassLabel, or a column called {', '.join(LABELS)})",
            found=found or "none",
            mend="Choose an image classification dataset, or rename its columns.",
        )
    return image_column, label_column


def _is_plain(feature: Any) -> bool:
    import datasets

    kinds = ("int", "uint", "string", "large_string")
    return isinstance(feature, datasets.Value) and feature.dtype.startswith(kinds)


def _kind(feature: Any) -> str:
    import datasets

    return str(feature.dtype) if isinstance(feature, datasets.Value) else type(feature).__name__


@dataclass(frozen=True, eq=False)
class SplitImages:
    """One split: uint8 images (n, 3, h, w), each one's class name, and all class names in their own order."""

    images: torch.Tensor
    labels: list[str]
    names: tuple[str, ...]


def read_split(repo: str, name: str, split: Any, columns: tuple[str, str], *, image_size: int, pad: int) -> SplitImages:
    """Decode a split of a Hugging Face dataset.

    Raises:
        DataError: an unreadable file or image, or an image without a label; the message names split and row.
    """
    import datasets

    image, label = columns
    label_feature = split.features[label]
    mend = f"Copy '{repo}' again: the file is damaged."
    pixels: list[torch.Tensor] = []
    labels: list[Any] = []

    def what() -> str:
        return f"image in row {len(pixels)} of split '{name}' of dataset '{repo}'"

    try:
        table = split.select_columns([image, label]).cast_column(image, datasets.Image(decode=False))
        for batch in table.with_format("arrow").iter(batch_size=1000):
            labels += batch[label].to_pylist()
            for cell in batch[image].to_pylist():
                pixels.append(decode(_encoded(cell), image_size, what, mend, pad=pad))
    except DataError:
        raise
    except Exception as cause:  # whatever the readers of parquet, arrow, zip and others raise
        raise DataError(
            f"split '{name}' of dataset '{repo}'",
            required="readable data files",
            found=f"{type(cause).__name__}: {cause}",
            mend=mend,
        ) from cause
    if not pixels:
        raise DataError(f"split '{name}' of dataset '{repo}'", required="at least one image", found="none", mend=mend)
    return SplitImages(torch.stack(pixels), *_label_names(repo, name, label_feature, labels))


def _encoded(cell: Mapping[str, Any] | None) -> bytes | Path:
    if cell and cell["bytes"] is not None:
        return bytes(cell["bytes"])
    return Path(cell["path"]) if cell and cell["path"] else b""


def _label_names(repo: str, split: str, feature: Any, labels: list[Any]) -> tuple[list[str], tuple[str, ...]]:
    import datasets

    unlabelled = [row for row, label in enumerate(labels) if label is None or label == -1]
    if unlabelled:
        raise DataError(
            f"labels of split '{split}' of dataset '{repo}'",
            required="a label for every image",
            found=f"{len(unlabelled)} images without one, the first in row {unlabelled[0]}",
            mend="Choose a dataset whose splits are labelled.",
        )
    if isinstance(feature, datasets.ClassLabel):
        names = tuple(feature.names)
        return [names[label] for label in labels], names
    return [str(label) for label in labels], tuple(str(label) for label in sorted(set(labels)))


def join_splits(repo: str, train: SplitImages, test: SplitImages | None) -> LabelledImages:
    """Number the classes alike in both splits; classes without a training image are dropped.

    Raises:
        DataError: fewer than two classes, or the test split has a class that the training split has not.
    """
    present = set(train.labels)
    classes = tuple(name for name in train.names if name in present)
    if len(classes) < 2:
        raise DataError(
            f"classes of dataset '{repo}'",
            required="at least two with training images",
            found=", ".join(classes),
            mend="Choose a dataset with more classes, or another label column.",
        )
    strangers = sorted(set(test.labels) - present) if test else []
    if strangers:
        raise DataError(
            f"classes of the test split of dataset '{repo}'",
            required="only classes that the training split has",
            found=f"{len(strangers)} others, such as '{strangers[0]}'",
            mend="Choose a dataset whose splits share their classes.",
        )
    number = {name: index for index, name in enumerate(classes)}

    def examples(split: SplitImages) -> Examples:
        return Examples(split.images, torch.tensor([number[label] for label in split.labels], dtype=torch.int64))

    return LabelledImages(repo, classes, examples(train), examples(test) if test else None)
