"""Examples, experiences and streams refuse what cannot be learned from, and say why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from hypertail.errors import ConfigError, DataError
from hypertail.seeds import generator
from hypertail.streams import Compose, Examples, Experience, Normalise, Stream, ToFloat
from support.errors import refused

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


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("images", "labels", "fields"),
    [
        (
            torch.zeros(2, 1, 4, 4),
            torch.zeros(2, dtype=torch.int64),
            {"problem": "images", "required": "uint8", "found": ("torch.float32", "(2, 1, 4, 4)")},
        ),
        (
            torch.zeros(2, 1, 4, 4, dtype=torch.uint8),
            torch.zeros(3, dtype=torch.int64),
            {"problem": "labels", "required": ("int64", "(2,)"), "found": ("torch.int64", "(3,)")},
        ),
    ],
)
def test_examples_that_do_not_fit(images: torch.Tensor, labels: torch.Tensor, fields: Any) -> None:
    with refused(DataError, **fields):
        Examples(images, labels)


def test_examples_know_their_size_and_print_briefly() -> None:
    three = examples([0, 1, 1])
    assert len(three) == 3
    assert repr(three) == "Examples(3 images, 1x4x4)"
    assert three.subset(torch.tensor([2, 0])).labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("changes", "what", "required", "found"),
    [
        ({"classes": ("round",)}, "classes", "two or more", "round"),
        ({"classes": ("round", "round", "square")}, "classes", "different", "round, round, square"),
        ({"test": examples([])}, "test set", "at least one image", "none"),
        ({"train": examples([0, 2])}, "labels of the training set", "0 to 1", "0 to 2"),
        ({"validation": examples([0, 1], size=5)}, "images of the validation set", "(1, 4, 4)", "(1, 5, 5)"),
    ],
)
def test_experiences_that_cannot_be_learned(changes: dict[str, Any], what: str, required: str, found: str) -> None:
    with refused(DataError, problem=(what, "experience 0 ('shapes')"), required=required, found=found):
        experience(**changes)


def test_stream_is_a_sequence_of_experiences() -> None:
    wide = experience(1, classes=("a", "b", "c"))
    stream = Stream("two", (experience(0), wide), (1, 4, 4))
    assert len(stream) == 2
    assert list(stream) == [stream[0], wide]
    assert stream.max_classes == 3
    assert stream.first(1).max_classes == 2
    assert stream.first(2).experiences == stream.experiences


@pytest.mark.parametrize(
    ("experiences", "shape", "required", "found"),
    [
        ((), (1, 4, 4), "at least one", "none"),
        ((experience(0), experience(2)), (1, 4, 4), "0 to 1", "0, 2"),
        ((experience(0),), (3, 4, 4), "(3, 4, 4)", "(1, 4, 4)"),
    ],
)
def test_streams_that_do_not_fit(experiences: Any, shape: tuple[int, int, int], required: str, found: str) -> None:
    with refused(DataError, problem="stream 's'", required=required, found=found):
        Stream("s", experiences, shape)


@pytest.mark.parametrize("n", [0, -1, 3])
def test_first_out_of_range(n: int) -> None:
    stream = Stream("s", (experience(0), experience(1)), (1, 4, 4))
    with refused(ConfigError, problem=("experiences", "'s'"), required="1 to 2", found=str(n)):
        stream.first(n)


def test_experiences_are_frozen_and_can_be_changed_by_copy() -> None:
    other = replace(experience(), test_transform=ToFloat())
    assert other.test_transform(other.test.images, generator(0)).max() == 0
    with pytest.raises(AttributeError):
        other.name = "new"  # type: ignore[misc]


def test_examples_of_a_split() -> None:
    held = experience(validation=examples([0, 1]))
    for split in ("train", "test", "validation"):
        assert held.examples(split) is getattr(held, split)
    with refused(DataError, problem="validation split", required="one of train, test", found="none"):
        experience().examples("validation")
