"""Examples, experiences and streams refuse what cannot be learned from, and say why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from hypertail.errors import ConfigError, DataError
from hypertail.seeds import generator
from hypertail.streams import Compose, Examples, Experience, Normalise, Stream, ToFloat

LOOK = Compose((Normalise((0.5,), (0.5,)),))


def examples(labels: list[int], size: int = 4) -> Examples:
    return Examples(torch.zeros(len(labels), 1, size, size, dtype=torch.uint8), torch.tensor(labels, dtype=torch.int64))


def experience(task: int = 0, **changes: Any) -> Experience:
    parts: dict[str, Any] = {
        **{"task": task, "name": "shapes", "classes": ("round", "square")},
        **{"train": examples([0, 1, 1]), "test": examples([0, 1]), "validation": None},
        **{"train_transform": LOOK, "test_transform": LOOK},
    }
    return Experience(**(parts | changes))


def message(make: Callable[[], object], kind: type[Exception] = DataError) -> str:
    with pytest.raises(kind) as caught:
        make()
    return str(caught.value)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("images", "labels", "expected"),
    [
        (
            torch.zeros(2, 1, 4, 4),
            torch.zeros(2, dtype=torch.int64),
            "images of an example set: required a uint8 tensor (n, channels, height, width) on the CPU; "
            "found torch.float32 (2, 1, 4, 4) on cpu. Store raw pixels 0..255; transforms make the floats.",
        ),
        (
            torch.zeros(2, 1, 4, 4, dtype=torch.uint8),
            torch.zeros(3, dtype=torch.int64),
            "labels of an example set: required an int64 tensor (2,) on the CPU, one label an image; found "
            "torch.int64 (3,) on cpu. Give one integer class id per image.",
        ),
    ],
)
def test_examples_that_do_not_fit(images: torch.Tensor, labels: torch.Tensor, expected: str) -> None:
    assert message(lambda: Examples(images, labels)) == expected


def test_examples_know_their_size_and_print_briefly() -> None:
    three = examples([0, 1, 1])
    assert len(three) == 3
    assert repr(three) == "Examples(3 images, 1x4x4)"
    assert three.subset(torch.tensor([2, 0])).labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"classes": ("round",)},
            "classes of experience 0 ('shapes'): required two or more different classes; found round. "
            "Put at least two classes in every experience, each under its own name.",
        ),
        (
            {"classes": ("round", "round", "square")},
            "classes of experience 0 ('shapes'): required two or more different classes; found round, round, "
            "square. Put at least two classes in every experience, each under its own name.",
        ),
        (
            {"test": examples([])},
            "test set of experience 0 ('shapes'): required at least one image; found none. Add images to it.",
        ),
        (
            {"train": examples([0, 2])},
            "labels of the training set of experience 0 ('shapes'): required class ids 0 to 1; found ids "
            "0 to 2. Number the classes of each experience from 0.",
        ),
        (
            {"validation": examples([0, 1], size=5)},
            "images of the validation set of experience 0 ('shapes'): required the shape of the training "
            "images, (1, 4, 4); found (1, 5, 5). Bring all images to one size.",
        ),
    ],
)
def test_experiences_that_cannot_be_learned(changes: dict[str, Any], expected: str) -> None:
    assert message(lambda: experience(**changes)) == expected


def test_stream_is_a_sequence_of_experiences() -> None:
    wide = experience(1, classes=("a", "b", "c"))
    stream = Stream("two", (experience(0), wide), (1, 4, 4))
    assert len(stream) == 2
    assert list(stream) == [stream[0], wide]
    assert stream.max_classes == 3
    assert stream.first(1).max_classes == 2
    assert stream.first(2).experiences == stream.experiences


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (
            lambda: Stream("s", (), (1, 4, 4)),
            "stream 's': required at least one experience; found none. Give it one or more experiences.",
        ),
        (
            lambda: Stream("s", (experience(0), experience(2)), (1, 4, 4)),
            "task ids of stream 's': required 0 to 1 in order; found 0, 2. Number the experiences from 0 in "
            "the order they are learned.",
        ),
        (
            lambda: Stream("s", (experience(0),), (3, 4, 4)),
            "images of experience 0 ('shapes') in stream 's': required the stream's image shape (3, 4, 4); "
            "found (1, 4, 4). Bring all experiences to one image size and number of channels.",
        ),
    ],
)
def test_streams_that_do_not_fit(make: Callable[[], object], expected: str) -> None:
    assert message(make) == expected


@pytest.mark.parametrize("n", [0, -1, 3])
def test_first_out_of_range(n: int) -> None:
    stream = Stream("s", (experience(0), experience(1)), (1, 4, 4))
    assert message(lambda: stream.first(n), ConfigError) == (
        f"number of experiences of stream 's': required 1 to 2; found {n}. Ask for fewer experiences, or put "
        "fewer classes in each."
    )


def test_experiences_are_frozen_and_can_be_changed_by_copy() -> None:
    other = replace(experience(), test_transform=ToFloat())
    assert other.test_transform(other.test.images, generator(0)).max() == 0
    with pytest.raises(AttributeError):
        other.name = "new"  # type: ignore[misc]
