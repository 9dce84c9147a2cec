"""Images that cannot be read: an error that names the first, or all skipped and listed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from hypertail.bank.images.opening import open_images
from hypertail.errors import ConfigError, DataError
from hypertail.streams import build_stream
from hypertail.streams.report import DatasetReport
from hypertail.streams.sources import decode
from hypertail.streams.sources.folders import image_folder
from hypertail.streams.sources.hub import HubSource, hub_dataset
from hypertail.streams.sources.unreadable import Unreadable
from support.banks import PIXELS
from support.errors import refused


def photos(root: Path, count: int = 6) -> Path:
    for number, name in enumerate(("ant", "bee")):
        (root / name).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", (9, 9), (40 * index + 20, 100 * number + 40, 90)).save(root / name / f"{index}.png")
    return root


def damaged(root: Path) -> Path:
    """One file cut short, one of another kind, one empty."""
    photos(root)
    whole = (root / "ant" / "0.png").read_bytes()
    (root / "ant" / "0.png").write_bytes(whole[: len(whole) // 2])
    (root / "ant" / "1.png").write_text("no image")
    (root / "bee" / "5.png").write_bytes(b"")
    return root


BAD = ("ant/0.png", "ant/1.png", "bee/5.png")


def test_the_first_is_an_error_unless_they_are_skipped(tmp_path: Path) -> None:
    root = damaged(tmp_path / "photos")
    with refused(DataError, problem="0.png", hint="Replace or delete"):
        image_folder(root, image_size=9)
    images = image_folder(root, image_size=9, on_bad_image="skip")
    for name in BAD:
        (root / name).unlink()
    clean = image_folder(root, image_size=9)
    assert torch.equal(images.train.images, clean.train.images)
    assert torch.equal(images.train.labels, clean.train.labels)
    assert images.report is not None
    assert clean.report is not None
    assert images.report.digest == clean.report.digest
    (skipped,) = images.report.left_out
    assert skipped.count == 3
    assert [name.split("photos/")[1] for name in skipped.examples] == list(BAD)
    assert "skipped" in " ".join(images.report.lines())
    assert DatasetReport.from_json(images.report.to_json()) == images.report


def test_the_cache_tells_both_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERTAIL_CACHE", str(tmp_path / "cache"))
    root = damaged(tmp_path / "photos")
    for _ in range(2):
        images = image_folder(root, image_size=9, cache=True, on_bad_image="skip")
        assert images.report is not None
        assert images.report.left_out[0].count == 3
        with refused(DataError, problem="0.png"):
            image_folder(root, image_size=9, cache=True)


def test_a_class_of_which_nothing_is_left(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos")
    for path in (root / "bee").iterdir():
        path.write_text("no image")
    with refused(DataError, problem="class 'bee'", required="at least one", found="6 files"):
        image_folder(root, on_bad_image="skip")
    for memory in (0, 1 << 20):
        with refused(DataError, problem="class 'bee'"):
            open_images(root, PIXELS, memory_bytes=memory, on_bad_image="skip")


def test_a_stream_and_a_task_of_a_bank_skip_alike(tmp_path: Path) -> None:
    root = damaged(tmp_path / "photos")
    stream = build_stream(f"folder:{root}", on_bad_image="skip", image_size=9)
    assert stream.reports[0].left_out[0].count == 3
    held, left = (open_images(root, PIXELS, memory_bytes=m, on_bad_image="skip") for m in (1 << 20, 0))
    assert len(held) == len(left) == 9
    assert torch.equal(held.pixels(range(9)), left.pixels(range(9)))
    for images in (held, left):
        assert any("3 files that cannot be read" in notice and "0.png" in notice for notice in images.notices)


def test_rows_of_a_table_are_skipped_with_their_labels(tmp_path: Path) -> None:
    import datasets

    root, folder = photos(tmp_path / "photos", 4), tmp_path / "data" / "a" / "b"
    cells = [{"bytes": path.read_bytes(), "path": None} for path in sorted(root.rglob("*.png"))]
    cells[2]["bytes"] = cells[2]["bytes"][:20]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["ant", "bee"])})
    data = datasets.Dataset.from_dict({"image": cells, "label": [0] * 4 + [1] * 4}, features=features)
    folder.mkdir(parents=True)
    data.to_parquet(folder / "train.parquet")
    source = HubSource("a/b")
    with refused(DataError, problem="row 2"):
        hub_dataset(source, image_size=9, data=tmp_path / "data")
    images = hub_dataset(source, image_size=9, data=tmp_path / "data", on_bad_image="skip")
    assert images.train.labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert images.report is not None
    assert images.report.left_out[0].examples == ("row 2 of split 'train'",)
    task = open_images(data, PIXELS, on_bad_image="skip")
    assert len(task) == 7
    assert any("row 2" in notice for notice in task.notices)


def test_the_row_of_a_missing_label_counts_skipped_images(tmp_path: Path) -> None:
    import datasets

    root = photos(tmp_path / "photos", 2)
    cells = [{"bytes": path.read_bytes(), "path": None} for path in sorted(root.rglob("*.png"))]
    cells[0]["bytes"] = b"no image"
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["ant", "bee"])})
    data = datasets.Dataset.from_dict({"image": cells, "label": [0, 0, -1, 1]}, features=features)
    with refused(DataError, found="the first in row 2"):
        open_images(data, PIXELS, on_bad_image="skip")


def test_a_failing_disk_or_memory_is_never_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = photos(tmp_path / "photos")

    def fail(path: Path) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", fail)
        with refused(DataError, found="Input/output error"):
            image_folder(root, on_bad_image="skip")

    def run_out(image: object) -> None:
        raise MemoryError

    monkeypatch.setattr(decode, "_rgb", run_out)
    with pytest.raises(MemoryError):
        image_folder(root, on_bad_image="skip")


def test_another_policy_is_refused() -> None:
    with refused(ConfigError, required="error or skip", found="ignore"):
        Unreadable("ignore")  # type: ignore[arg-type]
