"""What a user's folder holds decides class order, splits and digest; its name, place and file names do not (case 5)."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from hypertail.streams import Experience, Stream, build_stream, experience_from_folder
from hypertail.streams.sources.folders import image_folder
from hypertail.streams.sources.hub import HubSource, hub_dataset
from hypertail.streams.sources.labelled import shuffled
from hypertail.streams.sources.named import DATASETS
from support.image_sources import noise_image, png, write_folder, write_split

SHAPES = {"ash": 7, "birch": 8, "cedar": 9, "fir": 7, "oak": 6}


def same(one: Experience, two: Experience) -> bool:
    parts = [(getattr(one, part), getattr(two, part)) for part in ("train", "test", "validation")]
    return one.classes == two.classes and all(
        a is b is None or (torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)) for a, b in parts
    )


def stream(path: Path, seed: int = 0, **options: float) -> Stream:
    return build_stream(f"folder:{path}", seed=seed, image_size=16, validation=0.2, **options)  # type: ignore[arg-type]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_folder(tmp_path / "photos", SHAPES)
    return tmp_path / "photos"


@pytest.mark.parametrize("seed", [0, 1, 5])
def test_case_05_a_copy_gives_the_same_stream(photos: Path, tmp_path: Path, seed: int) -> None:
    """Case 5: class order and test images of a folder and its copy are the same, for the same seed."""
    copy = tmp_path / "elsewhere" / "photos-copy"
    shutil.copytree(photos, copy)
    one, two = stream(photos, seed), stream(copy, seed)
    assert all(same(a, b) for a, b in zip(one, two, strict=True))
    assert one.digest == two.digest
    assert one.digest != stream(photos, seed + 1).digest
    assert one.reports[0].digest == two.reports[0].digest


def test_case_05_file_names_and_their_order_do_not_count(photos: Path, tmp_path: Path) -> None:
    """Case 5: the same images under other names, and in sub-folders, are the same data."""
    before = stream(photos)
    files = [file for file in photos.rglob("*.png")]
    names = list(range(len(files)))
    random.Random(0).shuffle(names)
    for file, name in zip(files, names, strict=True):
        (file.parent / "more").mkdir(exist_ok=True)
        file.rename(file.parent / ("more" if name % 3 == 0 else ".") / f"x{name}.png")
    write_folder(photos, {"ash": 1}, first=999)  # so that not all classes have sub-folders alone
    (photos / "ash" / "000.png").unlink()
    assert stream(photos).digest == before.digest


def test_case_05_a_folder_as_one_experience(photos: Path, tmp_path: Path) -> None:
    """Case 5: brother in `experience_from_folder`."""
    shutil.copytree(photos, tmp_path / "b")
    one, two = (experience_from_folder(path, validation=0.2, image_size=16) for path in (photos, tmp_path / "b"))
    assert same(one, two)
    assert one.report is not None
    assert two.report is not None
    assert one.report.digest == two.report.digest
    assert one.report.held_out == {"test": len(one.test), "validation": 5}


def test_case_05_the_image_size_does_not_choose_the_test_images(tmp_path: Path) -> None:
    """Case 5: the test images are the same files at every size."""
    for number in range(40):
        folder = tmp_path / f"class{number % 2}"
        folder.mkdir(exist_ok=True)
        Image.new("RGB", (20, 20), (number * 6, 0, 0)).save(folder / f"{number}.png")
    small, large = (build_stream(f"folder:{tmp_path}", image_size=size) for size in (8, 32))
    assert small[0].test.images[:, 0, 0, 0].tolist() == large[0].test.images[:, 0, 0, 0].tolist()


def test_case_05_named_benchmarks_keep_their_order(tmp_path: Path) -> None:
    """Case 5: named datasets and `hub:` are seeded by their names, as committed results were."""
    assert shuffled(10, 0, "class order", "digits")[:2] == [int(name) for name in build_stream("digits")[0].classes]
    write_split(tmp_path, "a/b", "train", [png(noise_image(row)) for row in range(12)], ["x", "y", "z", "w"] * 3)
    images = hub_dataset(HubSource("a/b"), image_size=16, data=tmp_path)
    assert images.purpose == "a/b"
    assert images.classes == ("w", "x", "y", "z")
    order = shuffled(4, 3, "class order", "a/b")
    found = build_stream("hub:a/b", seed=3, data=tmp_path, image_size=16)
    assert [name for e in found for name in e.classes] == [images.classes[label] for label in order]
    assert all(named.source.repo for named in DATASETS.values())


def test_the_digest_notices_every_change(photos: Path) -> None:
    seen = {stream(photos).digest, build_stream(f"folder:{photos}", image_size=16).digest}
    seen.add(stream(photos, classes_per_experience=3).digest)
    content = {image_folder(photos).report.digest}  # type: ignore[union-attr]
    (photos / "ash").rename(photos / "ashen")
    seen.add(stream(photos).digest)
    content.add(image_folder(photos).report.digest)  # type: ignore[union-attr]
    image = Image.open(photos / "oak" / "000.png")
    image.putpixel((0, 0), (1, 2, 3))
    image.save(photos / "oak" / "000.png")
    content.add(image_folder(photos).report.digest)  # type: ignore[union-attr]
    (photos / "oak" / "000.png").rename(photos / "ashen" / "other.png")
    content.add(image_folder(photos).report.digest)  # type: ignore[union-attr]
    assert (len(seen), len(content)) == (4, 4)


def test_parquet_and_folder_of_the_same_images_have_one_digest(tmp_path: Path) -> None:
    numbers = range(8)
    for number in numbers:
        folder = tmp_path / "photos" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        noise_image(number).save(folder / f"{9 - number}.png")
    write_split(tmp_path, "a/b", "train", [png(noise_image(n)) for n in numbers], ["ab"[n % 2] for n in numbers])
    folder, hub = image_folder(tmp_path / "photos"), hub_dataset(HubSource("a/b"), image_size=32, data=tmp_path)
    assert folder.report is not None
    assert hub.report is not None
    assert folder.report.digest == hub.report.digest
