"""Labels of images in memory, as users have them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch

from hypertail.bank.images.labels import class_name, numbered
from hypertail.bank.images.opening import hold_out, open_images
from hypertail.errors import DataError
from support.banks import PIXELS, pictures
from support.errors import refused


def test_labels_with_bytes_that_are_no_text_are_written_with_them() -> None:
    odd = os.fsdecode(b"caf\xe9")
    for labels in ([odd, "b"] * 2, [b"caf\xe9", b"b"] * 2, np.array([odd, "b"] * 2)):
        images = open_images((pictures(("red", "blue"), 2)[0], labels), PIXELS)
        assert images.classes == ("b", "caf\\xe9")
        assert [len(part) for part in hold_out(images, 0.5, 0)] == [2, 2]
    named = open_images((pictures(("red", "blue"), 2)[0], [0, 1] * 2, [odd, "b"]), PIXELS)
    assert named.classes == ("caf\\xe9", "b")
    assert class_name("cafe\u0301") == "caf\u00e9"


@pytest.mark.parametrize(
    "labels",
    [
        [torch.tensor(2), torch.tensor(0), torch.tensor(2)],
        [np.int64(2), np.int64(0), np.int64(2)],
        [np.array(2), np.array(0), np.array(2)],
        torch.tensor([2, 0, 2]),
        np.array([2, 0, 2], np.uint8),
        (2, 0, 2),
    ],
)
def test_numbers_of_every_kind_are_numbers(labels: Any) -> None:
    assert numbered(labels, None, 3) == (("0", "2"), [1, 0, 1])
    assert numbered(labels, ["a", "b", "c"], 3) == (("a", "b", "c"), [2, 0, 2])


def test_numbers_are_sorted_as_numbers() -> None:
    assert numbered([10, 9, 10], None, 3) == (("9", "10"), [1, 0, 1])


@pytest.mark.parametrize(
    "labels",
    [np.eye(3), torch.eye(3), np.eye(3).tolist(), [(0, 1), (1, 0), (0, 1)], list(torch.eye(3))],
)
def test_one_hot_rows_are_refused_with_the_way_out(labels: Any) -> None:
    with refused(DataError, problem="labels of the images", required="one label", hint="argmax"):
        numbered(labels, None, 3)


@pytest.mark.parametrize("missing", [None, float("nan"), "", np.float64("nan")])
def test_a_missing_label_is_no_class(missing: Any) -> None:
    with refused(DataError, required="a label for every image", hint="Leave out"):
        numbered(["a", missing, "b"], None, 3)


def test_refusals() -> None:
    with refused(DataError, required="differ as text", hint="'1'"):
        numbered([1, "1", 2], None, 3)
    with refused(DataError, problem="names of classes", required="once"):
        numbered([0, 1], ["a", "a"], 2)
    for count in (2, 4):
        with refused(DataError, required="one for each", found="3 labels"):
            numbered([1, 2, 3], None, count)
    with refused(DataError, found="1 labels"):
        numbered(3, None, 2)
    with refused(DataError, found="1 labels"):
        numbered(np.array(3), None, 2)
    for strange in (2, -1, "a", 1.0):
        with refused(DataError, required="0 to 1"):
            numbered([0, strange], ["a", "b"], 2)
