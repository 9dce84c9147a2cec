"""Labels of images in memory -> names of classes, and which of them each image has."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
from torch import Tensor

from hypertail.errors import DataError
from hypertail.streams.names import printable


def class_name(label: object) -> str:
    """A label as the name of a class: text that can be printed and written to JSON, as names of folders are."""
    return printable(os.fsdecode(label) if isinstance(label, bytes) else str(label))


def numbered(labels: Any, names: Any, count: int) -> tuple[tuple[str, ...], list[int]]:
    """`(classes, numbers)`: the names of classes, and for each image the number of its own.

    Args:
        labels: one for each image, in a list, an array or a tensor: text or numbers; numbers of `names` where those are
            given.
        names: of all classes, whether they occur or not; None to take the labels themselves, sorted.
        count: of images.

    Raises:
        DataError: labels that are none, too many or too few, or that cannot be told apart as text.
    """
    values = _values(labels)
    if len(values) != count or not values:
        raise DataError(
            "labels of the images",
            required="one for each of at least one image",
            found=f"{len(values)} labels for {count} images",
            hint="Give images and labels of equal number.",
        )
    return _of_names(values, names) if names is not None else _of_labels(values)


def _values(labels: Any) -> list[Any]:
    """Labels as plain values of Python."""
    if isinstance(labels, Tensor | np.ndarray):
        found = labels.tolist() if labels.ndim else [labels.tolist()]
    else:
        try:
            found = list(labels)
        except TypeError:
            found = [labels]
    # numbers of numpy and tensors of one number, as a loop over an array or a data loader gives them
    values = [each.item() if isinstance(each, Tensor | np.generic | np.ndarray) and each.ndim == 0 else each
              for each in found]  # fmt: skip
    for value in values:
        if isinstance(value, Tensor | np.ndarray | list | tuple | dict | set):
            raise _strange("one label for each image, a text or a number", value, "Of one-hot rows give argmax(1).")
        if value is None or value in ("", b"") or (isinstance(value, float) and math.isnan(value)):
            raise _strange("a label for every image", value, "Leave out images that have none.")
    return values


def _of_names(values: list[Any], names: Any) -> tuple[tuple[str, ...], list[int]]:
    classes = tuple(class_name(name) for name in names)
    if len(set(classes)) < len(classes):
        raise DataError(
            "names of classes", required="each of them once", found=", ".join(classes), hint="Name each class once."
        )
    for value in values:
        if not (isinstance(value, int) and 0 <= value < len(classes)):
            raise _strange(
                f"whole numbers 0 to {len(classes) - 1}, for the names of classes that were given",
                value,
                "Number the classes in the order of their names.",
            )
    return classes, values


def _of_labels(values: list[Any]) -> tuple[tuple[str, ...], list[int]]:
    try:
        order = sorted(set(values))
    except TypeError:  # of several kinds
        order = sorted(set(values), key=str)
    number: dict[str, int] = {}
    for value in order:
        if class_name(value) in number:
            raise _strange(
                "labels that differ as text too", value, f"Another label is written '{class_name(value)}' as well."
            )
        number[class_name(value)] = len(number)
    place = {value: row for row, value in enumerate(order)}
    return tuple(number), [place[value] for value in values]


def _strange(required: str, value: object, hint: str) -> DataError:
    return DataError("labels of the images", required=required, found=printable(repr(value))[:80], hint=hint)
