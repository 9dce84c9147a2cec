"""Choosing, ordering and splitting classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hypertail.errors import ConfigError, DataError
from hypertail.streams import build_stream, experience_from_folder
from hypertail.streams.sources.labelled import LabelledImages, hold_out, of_classes, partition, shuffled
from hypertail.streams.stream import Examples
from support.errors import refused
from support.image_sources import write_folder


def numbered(labels: list[int]) -> Examples:
    """One-pixel images whose value is their row."""
    images = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1)
    return Examples(images, torch.tensor(labels))


def rows(examples: Examples) -> list[int]:
    return [int(row) for row in examples.images.flatten()]


@pytest.mark.parametrize(
    ("count", "size", "sizes"),
    [
        (10, 2, [2, 2, 2, 2, 2]),
        (100, 5, [5] * 20),
        (43, 8, [8, 8, 8, 8, 8, 3]),
        (7, 3, [3, 4]),
        (3, 2, [3]),
        (4, 4, [4]),
        (5, 3, [3, 2]),
    ],
)
def test_partition_uses_every_class_once(count: int, size: int, sizes: list[int]) -> None:
    order = shuffled(count, 0, "test")
    groups = partition(order, size)
    assert [len(group) for group in groups] == sizes
    assert [label for group in groups for label in group] == order
    assert sorted(order) == list(range(count))


@pytest.mark.parametrize("size", [0, 1, 11])
def test_partition_of_impossible_size(size: int) -> None:
    with refused(ConfigError, problem="classes per experience", required="2 to 10", found=str(size)):
        partition(list(range(10)), size)


def test_shuffled_follows_seed_and_purpose() -> None:
    assert shuffled(50, 0, "a") == shuffled(50, 0, "a")
    assert shuffled(50, 0, "a") != shuffled(50, 1, "a")
    assert shuffled(50, 0, "a") != shuffled(50, 0, "b")


def test_classes_are_relabelled_in_the_chosen_order() -> None:
    images = LabelledImages("x", ("a", "b", "c"), numbered([0, 1, 2, 2, 1]), numbered([2, 0]))
    part = of_classes(images, [2, 0])
    assert part.classes == ("c", "a")
    assert (rows(part.train), part.train.labels.tolist()) == ([0, 2, 3], [1, 0, 0])
    assert part.test is not None
    assert (rows(part.test), part.test.labels.tolist()) == ([0, 1], [0, 1])


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.99])
def test_hold_out_takes_the_same_share_of_every_class(share: float) -> None:
    labels = [0] * 20 + [1] * 50 + [2] * 2
    kept, held = hold_out(numbered(labels), ("a", "b", "c"), share, 0)
    assert sorted(rows(kept) + rows(held)) == list(range(72))
    for label, size in ((0, 20), (1, 50), (2, 2)):
        count = int((held.labels == label).sum())
        assert count == min(max(1, round(share * size)), size - 1)
    assert [labels[row] for row in rows(kept)] == kept.labels.tolist()


def test_hold_out_of_a_class_does_not_depend_on_the_others() -> None:
    together = hold_out(numbered([0] * 10 + [1] * 10), ("a", "b"), 0.3, 7)[1]
    alone = hold_out(numbered([0] * 10), ("a",), 0.3, 7)[1]
    assert rows(together)[:3] == rows(alone)
    assert rows(alone) != rows(hold_out(numbered([0] * 10), ("a",), 0.3, 8)[1])


def test_hold_out_needs_two_images_a_class() -> None:
    with refused(DataError, problem="class 'b'", required=("at least 2", "20%"), found="1 image"):
        hold_out(numbered([0, 0, 1]), ("a", "b"), 0.2, 0)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_case_15_a_class_too_small_to_validate_and_to_test(tmp_path: Path, share: float) -> None:
    """Case 15: the true number of images, and what became of the others."""
    write_folder(tmp_path, {"a": 2, "b": 9})
    for read in (
        lambda: build_stream(f"folder:{tmp_path}", validation=share),
        lambda: experience_from_folder(tmp_path, validation=share),
    ):
        with refused(DataError, problem="class 'a'", required="at least 3", found=("2 images", "1 of them held out")):
            read()
    assert len(build_stream(f"folder:{tmp_path}")[0].test) == 3


def test_case_15_without_a_test_set_held_out_before(tmp_path: Path) -> None:
    """Case 15: one image is one image; two are enough where the test set is given."""
    write_folder(tmp_path / "train", {"a": 2, "b": 9})
    write_folder(tmp_path / "test", {"a": 1, "b": 1}, first=20)
    assert experience_from_folder(tmp_path, validation=0.1).validation is not None
    (tmp_path / "train" / "a" / "000.png").unlink()
    with refused(DataError, problem="class 'a'", required=("at least 2", "10%"), found="1 image"):
        build_stream(f"folder:{tmp_path}", validation=0.1)
