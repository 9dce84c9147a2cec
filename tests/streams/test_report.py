"""What was read is said: to people in a few lines, to programs as JSON."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from hypertail.streams import DatasetReport, LeftOut, Stream, build_stream
from support.image_sources import write_classes, write_folder

REPORT = DatasetReport(
    "photos",
    "/some/photos",
    {"train": {"bread": 40, "cake": 60, "roll": 20}},
    {"test": 24},
    (LeftOut(".txt", 2, ("bread/a.txt", "roll/b.txt")),),
    ("images are nearly black",),
    "/cache/file",
    "0123",
)


def test_lines() -> None:
    assert REPORT.lines() == (
        "photos: 120 training images of 3 classes (bread 40, cake 60, roll 20), 24 of them held out for test",
        "left out: 2 files .txt (bread/a.txt, roll/b.txt)",
        "images are nearly black",
        "the decoded images are kept in /cache/file (hypertail cache lists and clears)",
    )
    many = {f"class {number}": 500 for number in range(100)}
    lines = replace(REPORT, splits={"train": many, "test": {**many, "class 0": 7}}, held_out={}).lines()
    assert lines[0] == (
        "photos: 50000 training images of 100 classes (500 each); 49507 test images of 100 classes (7 to 500 each)"
    )


def test_json_and_back() -> None:
    text = json.dumps(REPORT.to_json(), allow_nan=False)
    assert DatasetReport.from_json(json.loads(text)) == REPORT
    with pytest.raises(FrozenInstanceError):
        REPORT.name = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    "name", ["digits", "split-cifar10", "pair:svhn,cifar10", "noisy-cifar100", "folder", "hub:a/b"]
)
def test_every_stream_carries_reports(tmp_path: Path, name: str) -> None:
    for repo, image, label, classes in (
        ("uoft-cs/cifar10", "img", "label", 10),
        ("uoft-cs/cifar100", "img", "fine_label", 100),
        ("ufldl-stanford/svhn", "image", "label", 10),
        ("a/b", "image", "label", 4),
    ):
        write_classes(tmp_path, repo, classes, train=5, test=1, columns=(image, label), size=(8, 8))
    write_folder(tmp_path / "photos", {"x": 5, "y": 5})
    own = f"folder:{tmp_path / 'photos'}" if name == "folder" else name
    stream = build_stream(own, data=tmp_path, image_size=8, validation=0.2)
    assert len(stream.reports) == (2 if name.startswith("pair") else 1)
    for report in stream.reports:
        assert len(report.digest) == 32
        assert sum(report.splits["train"].values()) > report.held_out["validation"] > 0
        assert ("test" in report.splits) is ("test" not in report.held_out)
        assert json.loads(json.dumps(report.to_json()))["source"]
    assert stream.first(1).reports == stream.reports
    assert (
        stream.first(1).digest == build_stream(own, data=tmp_path, image_size=8, validation=0.2, experiences=1).digest
    )


def test_streams_made_by_hand_have_none() -> None:
    digits = build_stream("digits")
    stream = Stream("mine", digits.experiences[:2], digits.image_shape)
    assert stream.reports == ()
    assert stream.digest == digits.first(2).digest != digits.digest
    swapped = tuple(replace(e, task=task) for task, e in enumerate(reversed(stream.experiences)))
    assert Stream("mine", swapped, digits.image_shape).digest != stream.digest
    first = digits[0]
    renamed = replace(first, classes=("a", "b"))
    shifted = replace(first, train=replace(first.train, labels=1 - first.train.labels))
    digests = {Stream("s", (e,), digits.image_shape).digest for e in (first, renamed, shifted)}
    assert len(digests) == 3
