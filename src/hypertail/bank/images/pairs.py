"""Map-style torch Datasets of (image, label) pairs, and what is taken for images of a task by mistake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch.utils.data import DataLoader, Dataset, IterableDataset

from hypertail.errors import DataError
from hypertail.streams.names import shown
from hypertail.streams.sources.unreadable import Unreadable


def is_dataset(data: object) -> bool:
    """Whether it is a torch Dataset whose examples can be counted and asked for by number."""
    return isinstance(data, Dataset) and not isinstance(data, IterableDataset) and hasattr(data, "__len__")


def pairs_of(data: Any, labels: list[Any], unreadable: Unreadable) -> Iterator[Any]:
    """The images of a dataset, one by one; their labels are put into `labels`.

    Raises:
        DataError: an example that is no pair, or that cannot be read.
    """
    for row in range(len(data)):
        what = f"example {row} of the {type(data).__name__}"
        try:
            pair = data[row]
        except Exception as cause:  # whatever the user's code raises
            found = shown(f"{type(cause).__name__}: {cause}")[:300]
            error = DataError(what, required="an example that can be read", found=found, hint="Mend or leave it out.")
            error.__cause__ = cause
            unreadable.meet(error, what)
            continue
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            found = f"{type(pair).__name__} of {len(pair)}" if hasattr(pair, "__len__") else type(pair).__name__
            hint = "Give a dataset of pairs, or (images, labels)."
            raise DataError(what, required="an image and a label", found=found, hint=hint)
        labels.append(pair[1])
        yield pair[0]


def names_of(data: Any, labels: list[Any]) -> list[str] | None:
    """The names of classes that a dataset tells (`classes`, also of the whole that it is a part of)."""
    while not hasattr(data, "classes") and isinstance(getattr(data, "dataset", None), Dataset):
        data = data.dataset
    names: Any = getattr(data, "classes", None)
    told = isinstance(names, tuple | list) and all(isinstance(name, str) for name in names)
    return list(names) if told and not any(isinstance(label, str) for label in labels) else None


def of_no_kind(data: object) -> DataError:
    """The error for what is none of the kinds of data that a task is learned from."""
    if isinstance(data, DataLoader):
        hint = "Give its dataset: loader.dataset."
    elif isinstance(data, Mapping):
        hint = "Of several splits, give one: dataset['train']."
    elif isinstance(data, IterableDataset) or not hasattr(data, "__getitem__"):
        hint = "Make lists of it: (images, labels)."
    elif isinstance(data, list | tuple) and data and all(isinstance(each, tuple | list) for each in data):
        hint = "Of pairs, give tuple(zip(*pairs))."
    else:
        hint = "Give (images, labels)."
    return DataError(
        "images of a task",
        required="a folder of class folders, (images, labels), a datasets.Dataset, or a torch Dataset of pairs",
        found=type(data).__name__,
        hint=hint,
    )
