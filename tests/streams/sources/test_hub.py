"""Hub datasets: from a local root, and what is said when they cannot be read."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch

from hypertail.errors import ConfigError, DataError
from hypertail.streams.sources.columns import find_columns, read_split
from hypertail.streams.sources.decode import finished
from hypertail.streams.sources.hub import HubSource, hub_dataset
from hypertail.streams.sources.labelled import LabelledImages
from support.errors import refused
from support.image_sources import noise_image, png, quietly, write_classes, write_folder, write_split

REPO = "someone/things"
NAMES = datasets.ClassLabel(names=["cat", "dog", "unused"])


def images(count: int, first: int = 0) -> list[bytes | None]:
    return [png(noise_image(first + number)) for number in range(count)]


def read(root: Path | None, **options: Any) -> LabelledImages:
    return hub_dataset(HubSource(REPO, **options), image_size=32, data=root)


def test_parquet_is_read_pixel_for_pixel(tmp_path: Path) -> None:
    write_split(tmp_path, REPO, "train", images(4), [1, 0, 0, 1], label=NAMES)
    write_split(tmp_path, REPO, "test", images(2, 4), [0, 1], label=NAMES)
    found = hub_dataset(HubSource(REPO), image_size=32, data=tmp_path)
    assert found.classes == ("cat", "dog"), "a class without a training image was kept"
    assert found.train.labels.tolist() == [1, 0, 0, 1]
    assert found.test is not None
    for number, pixels in enumerate([*found.train.images, *found.test.images]):
        assert torch.equal(pixels, torch.from_numpy(np.array(noise_image(number))).permute(2, 0, 1))


def test_environment_names_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_split(tmp_path, REPO, "train", images(2), [0, 1], label=NAMES)
    monkeypatch.setenv("HYPERTAIL_DATA", str(tmp_path))
    found = hub_dataset(HubSource(REPO), image_size=32)
    assert found.test is None


def test_several_files_configurations_and_grey_images(tmp_path: Path) -> None:
    write_split(tmp_path, REPO, "train", images(2), [0, 1], label=NAMES, file="{split}-0.parquet")
    write_split(tmp_path, REPO, "train", images(2, 2), [1, 1], label=NAMES, file="{split}-1.parquet")
    grey = [png(noise_image(9, (28, 28), "L"))] * 2
    write_split(tmp_path, REPO, "train", grey, [0, 1], label=NAMES, file="grey-{split}.parquet")
    (tmp_path / REPO / "README.md").write_text(
        "---\nconfigs:\n"
        "- config_name: colour\n  data_files:\n  - split: train\n    path: train-*\n"
        "- config_name: grey\n  data_files:\n  - split: train\n    path: grey-*\n---\n"
    )
    found = hub_dataset(HubSource(REPO, "colour"), image_size=32, data=tmp_path)
    assert found.train.labels.tolist() == [0, 1, 1, 1]
    padded = hub_dataset(HubSource(REPO, "grey", pad=2), image_size=32, data=tmp_path).train.images
    expected = torch.from_numpy(np.array(noise_image(9, (28, 28), "L")))
    assert torch.equal(padded[0, :, 2:30, 2:30], expected.expand(3, 28, 28))
    assert padded[:, :, :2].max() == padded[:, :, :, 30:].max() == 0
    asked = {"problem": ("configuration", f"'{REPO}'"), "required": "colour, grey", "hint": f"hub:{REPO}:colour"}
    with refused(DataError, **asked, found="no choice"):
        read(tmp_path)
    with refused(DataError, **asked, found="'blue'"):
        read(tmp_path, config="blue")


@pytest.mark.parametrize(
    ("labels", "classes", "column"),
    [(["wolf", "ant", "wolf"], ("ant", "wolf"), "labels"), ([30, 4, 30], ("4", "30"), "fine_label")],
)
def test_plain_label_columns(tmp_path: Path, labels: list[object], classes: tuple[str, ...], column: str) -> None:
    write_split(tmp_path, REPO, "train", images(3), labels, columns=("picture", column))
    found = hub_dataset(HubSource(REPO), image_size=32, data=tmp_path)
    assert found.classes == classes
    assert found.train.labels.tolist() == [1, 0, 1]


def test_split_names_need_not_list_classes_alike(tmp_path: Path) -> None:
    write_split(tmp_path, REPO, "train", images(3), ["b", "a", "c"])
    write_split(tmp_path, REPO, "validation", images(1, 3), ["c"])
    found = hub_dataset(HubSource(REPO), image_size=32, data=tmp_path)
    assert found.test is not None
    assert found.test.labels.tolist() == [2]


def test_folder_of_image_files_in_the_root(tmp_path: Path) -> None:
    write_folder(tmp_path / REPO / "train", {"cat": 2, "dog": 3}, size=(32, 32))
    write_folder(tmp_path / REPO / "test", {"cat": 1, "dog": 1}, size=(32, 32), first=5)
    found = hub_dataset(HubSource(REPO), image_size=32, data=tmp_path)
    assert found.classes == ("cat", "dog")
    assert sorted(found.train.labels.tolist()) == [0, 0, 1, 1, 1]


def test_a_downloaded_dataset_is_read_like_a_local_one(tmp_path: Path) -> None:
    path = write_split(tmp_path, REPO, "train", images(3), [0, 1, 1], label=NAMES)
    local = hub_dataset(HubSource(REPO), image_size=32, data=tmp_path).train
    table = quietly(lambda: datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "hf")))
    columns = find_columns(REPO, table.features)
    split = read_split(REPO, "train", table, columns, image_size=32, pad=0)
    assert torch.equal(finished([split.pictures], 32)[0][0], local.images)
    assert split.labels == ["cat", "dog", "dog"]


def test_root_is_only_read(tmp_path: Path) -> None:
    write_classes(tmp_path, REPO, 2, train=2, test=1)
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    for path in [*tmp_path.rglob("*"), tmp_path]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert len(hub_dataset(HubSource(REPO), image_size=32, data=tmp_path).train) == 4
        assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before
    finally:
        for path in [tmp_path, *tmp_path.rglob("*")]:
            path.chmod(0o755)


def test_second_time_needs_no_reading_until_a_file_changes(tmp_path: Path, image_cache: Path) -> None:
    path = write_split(tmp_path, REPO, "train", images(2), [0, 1], label=NAMES)
    first = hub_dataset(HubSource(REPO), image_size=32, data=tmp_path, cache=True)
    status = path.stat()
    path.write_bytes(b"x" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = hub_dataset(HubSource(REPO), image_size=32, data=tmp_path, cache=True)
    assert torch.equal(again.train.images, first.train.images)
    os.utime(path, ns=(0, 0))
    with refused(DataError, problem=f"'{tmp_path / REPO}'", required="Hugging Face datasets"):
        hub_dataset(HubSource(REPO), image_size=32, data=tmp_path, cache=True)


@pytest.mark.parametrize("repo", ["mnist", "../secret", "a/..", "a/../b", "/etc/passwd", "a/b/c", "a b/c", "a/b\n"])
def test_a_name_cannot_leave_the_root(repo: str) -> None:
    with refused(ConfigError, problem=f"'{repo}'", required="OWNER/NAME", found=f"'{repo}'", hint="'uoft-cs/cifar100'"):
        HubSource(repo)


def test_missing_root(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with refused(DataError, problem=f"'{gone}'", found="nothing there", hint=("--data", "HYPERTAIL_DATA")):
        read(gone)


@pytest.mark.parametrize("broken", [b"", b"no image"])
def test_corrupt_image_names_its_row(tmp_path: Path, broken: bytes, image_cache: Path) -> None:
    write_split(tmp_path, REPO, "train", [*images(2), broken, *images(1)], [0, 1, 0, 1], label=NAMES)
    with refused(DataError, problem=("row 2", "'train'", f"'{REPO}'"), required="readable", hint=f"'{REPO}'"):
        read(tmp_path)
    assert not list(image_cache.iterdir())


def test_damaged_parquet_is_named(tmp_path: Path) -> None:
    path = write_split(tmp_path, REPO, "train", images(40), [0, 1] * 20, label=NAMES)
    content = bytearray(path.read_bytes())
    content[200:60_000] = bytes(59_800)  # the end, where the schema is, stays whole
    path.write_bytes(content)
    with refused(DataError, problem=f"dataset '{REPO}'", required="readable"):
        read(tmp_path)


def test_no_image_column(tmp_path: Path) -> None:
    folder = tmp_path / REPO
    folder.mkdir(parents=True)
    (folder / "train.csv").write_text("sound,label\nx,1\ny,2\n")
    names = ("label, labels, fine_label, class, target, category, cls, class_name, class_label",)
    with refused(DataError, problem=("columns", f"'{REPO}'"), required=("Image", "ClassLabel", *names), found="none"):
        read(tmp_path)


def test_no_label_column(tmp_path: Path) -> None:
    write_split(tmp_path, REPO, "train", images(2), ["x", "y"], columns=("image", "caption"))
    with refused(DataError, found=("image (Image)", "caption (string)")):
        read(tmp_path)


def test_class_label_is_preferred_by_name(tmp_path: Path) -> None:
    cells = [{"bytes": content, "path": None} for content in images(2)]
    features = {"image": datasets.Image(), "coarse": NAMES, "fine_label": NAMES}
    table = datasets.Dataset.from_dict(
        {"image": cells, "coarse": [0, 0], "fine_label": [1, 0]}, datasets.Features(features)
    )
    (tmp_path / REPO).mkdir(parents=True)
    quietly(lambda: table.to_parquet(tmp_path / REPO / "train.parquet"))
    found = hub_dataset(HubSource(REPO), image_size=32, data=tmp_path)
    assert found.train.labels.tolist() == [1, 0]


def test_hidden_labels(tmp_path: Path) -> None:
    write_split(tmp_path, REPO, "train", images(2), [0, 1], label=NAMES)
    write_split(tmp_path, REPO, "test", images(2), [-1, -1], label=NAMES)
    with refused(DataError, problem=("labels", "'test'", f"'{REPO}'"), found=("2 images without", "row 0")):
        read(tmp_path)


def test_strange_classes_in_the_test_split(tmp_path: Path) -> None:
    write_split(tmp_path, REPO, "train", images(2), ["a", "b"])
    write_split(tmp_path, REPO, "test", images(2), ["a", "c"])
    with refused(DataError, problem=("test split", f"'{REPO}'"), required="training split", found=("1 others", "'c'")):
        read(tmp_path)


def test_a_single_class(tmp_path: Path) -> None:
    write_split(tmp_path, REPO, "train", images(2), [1, 1], label=NAMES)
    with refused(
        DataError, problem=("classes", f"'{REPO}'"), required="at least two", found="dog", hint="label column"
    ):
        read(tmp_path)


def test_missing_split(tmp_path: Path) -> None:
    write_split(tmp_path, REPO, "test", images(2), [0, 1], label=NAMES)
    with refused(DataError, problem=("splits", f"'{REPO}'"), required="train and valid", found="test"):
        read(tmp_path, test="valid")


def test_offline_and_not_there(tmp_path: Path) -> None:
    asked = {"problem": f"'{REPO}'", "required": "local copy", "hint": ("--data", "HYPERTAIL_DATA", f"DIR/{REPO}")}
    with refused(DataError, **asked, found=(f"no folder '{tmp_path / REPO}'", "download failed (")):
        read(tmp_path)
    with refused(DataError, **asked, found=("no data folder", "download failed (")):
        read(None)


@pytest.mark.slow
def test_an_unreachable_hub_fails_at_once() -> None:
    """A real attempt, in a fresh process, at an address where nothing listens."""
    code = "from hypertail.streams.sources.hub import HubSource, hub_dataset\n"
    code += f"hub_dataset(HubSource('{REPO}'), image_size=32)\n"
    environment = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    start = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert time.monotonic() - start < 60, "it kept retrying"  # importing alone takes 20 on a busy machine
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith(f"hypertail.errors.DataError: dataset '{REPO}'")
    assert "download failed (" in last
    assert "Retrying" not in result.stderr


def test_progress_bars_come_back_after_loading(tmp_path: Path) -> None:
    from datasets.utils import are_progress_bars_disabled

    write_split(tmp_path, REPO, "train", images(2), [0, 1], label=NAMES)
    datasets.enable_progress_bars()
    hub_dataset(HubSource(REPO), image_size=32, data=tmp_path)
    assert not are_progress_bars_disabled()


def test_a_named_dataset_in_image_files_is_read_as_ever(tmp_path: Path) -> None:
    """Frames, splits and order of a benchmark do not change with the way its files are kept."""
    for split, first in (("train", 0), ("test", 20)):
        write_folder(tmp_path / REPO / split, {"cat": 4, "dog": 4}, size=(28, 28), first=first)
    found = hub_dataset(HubSource(REPO, image="image", label="label", test="test", pad=2), image_size=32, data=tmp_path)
    assert found.train.images[:, :, :2].max() == 0
    assert torch.equal(
        found.train.images[0][:, 2:30, 2:30].permute(1, 2, 0), torch.from_numpy(np.array(noise_image(0, (28, 28))))
    )
