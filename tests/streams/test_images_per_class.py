"""A limit to the training images of each class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hypertail.errors import ConfigError
from hypertail.streams import Examples, Stream, build_stream
from hypertail.streams.sources.labelled import at_most
from support.errors import refused
from support.image_sources import noise_image


def images_of(examples: Examples | None) -> set[bytes]:
    assert examples is not None
    return {image.numpy().tobytes() for image in examples.images}


def digits(**options: Any) -> Stream:
    return build_stream("digits", image_size=8, experiences=2, **options)


def test_at_most_so_many_of_each_class_and_test_images_as_they_were() -> None:
    whole, few = digits(), digits(images_per_class=7)
    assert len(few) == 2
    for all_of_it, some in zip(whole, few, strict=True):
        assert some.classes == all_of_it.classes
        assert torch.bincount(some.train.labels).tolist() == [7, 7]
        assert images_of(some.train) < images_of(all_of_it.train)
        assert torch.equal(some.test.images, all_of_it.test.images)
        assert torch.equal(some.test.labels, all_of_it.test.labels)


def test_the_seed_chooses() -> None:
    one, again, other = (digits(images_per_class=7, seed=seed) for seed in (0, 0, 1))
    assert one.digest == again.digest != other.digest
    # a larger number keeps what a smaller one keeps
    assert images_of(one[0].train) < images_of(digits(images_per_class=9)[0].train)


def test_validation_comes_out_of_them() -> None:
    few, plain = digits(images_per_class=10, validation=0.2), digits(images_per_class=10)
    assert len(few) == 2
    for some, all_of_it in zip(few, plain, strict=True):
        assert some.validation is not None
        assert torch.bincount(some.train.labels).tolist() == [8, 8]
        assert torch.bincount(some.validation.labels).tolist() == [2, 2]
        assert images_of(some.train) | images_of(some.validation) == images_of(all_of_it.train)


def test_a_class_with_fewer_keeps_all(tmp_path: Path) -> None:
    for label, count in (("ant", 12), ("bee", 4)):
        (tmp_path / label).mkdir()
        for number in range(count):
            noise_image(100 * len(label) + number + ord(label[0]), (16, 16)).save(tmp_path / label / f"{number}.png")
    whole, few = (build_stream(f"folder:{tmp_path}", images_per_class=limit) for limit in (None, 5))
    (full,), (some,) = whole, few
    counts = dict(zip(some.classes, torch.bincount(some.train.labels).tolist(), strict=True))
    assert counts == {"ant": 5, "bee": 3}  # a fifth of each class was held out for the test set before
    assert torch.equal(some.test.images, full.test.images)


def test_the_report_says_it() -> None:
    (report,) = digits(images_per_class=7).reports
    assert "of each class at most 7 training images are kept, chosen by the seed" in report.lines()
    (report,) = digits().reports
    assert not any("at most" in line for line in report.lines())


@pytest.mark.parametrize("count", [1, 0, -3])
def test_too_few(count: int) -> None:
    with refused(ConfigError, problem="images per class", required="2 or more", found=str(count)):
        digits(images_per_class=count)


def test_at_most_keeps_the_order() -> None:
    images = torch.arange(24, dtype=torch.uint8).view(24, 1, 1, 1)
    labels = torch.tensor([0, 1, 2] * 8)
    kept = at_most(Examples(images, labels), ("a", "b", "c"), 3, 0, "test")
    values = kept.images.flatten().tolist()
    assert values == sorted(values)
    assert [value % 3 for value in values] == kept.labels.tolist()
    assert torch.bincount(kept.labels).tolist() == [3, 3, 3]
