"""Image folders as datasets, and what is wrong with those that are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from hypertail.errors import DataError
from hypertail.streams import read_images
from hypertail.streams.sources.folders import image_folder
from support.errors import refused
from support.image_sources import noise_image, write_folder


def rows(images: torch.Tensor) -> list[bytes]:
    """The images in an order of their own."""
    return sorted(image.contiguous().numpy().tobytes() for image in images)


def test_class_folders_become_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    write_folder(tmp_path, {"b": 3, "a": 2})
    images = image_folder(tmp_path, image_size=16)
    assert images.classes == ("a", "b")
    assert images.test is None
    assert images.train.labels.tolist() == [0, 0, 1, 1, 1]
    files = [tmp_path / "a" / "000.png", tmp_path / "a" / "001.png"]
    assert rows(images.train.images[:2]) == rows(read_images(files, 16))


def test_nested_and_foreign_files(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 1, "b": 1, "a/site 1": 2})
    (tmp_path / "a" / "notes.txt").write_text("not an image")
    (tmp_path / "a" / ".hidden.png").write_bytes(b"")
    (tmp_path / ".cache").mkdir()
    noise_image(0).save(tmp_path / "b" / "loud.PNG")
    assert image_folder(tmp_path).train.labels.tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("name", ["test", "valid", "validation", "val"])
def test_train_and_test_folders(tmp_path: Path, name: str) -> None:
    write_folder(tmp_path / "train", {"a": 2, "b": 2})
    write_folder(tmp_path / name, {"b": 1}, first=10)
    images = image_folder(tmp_path)
    assert images.test is not None
    assert (len(images.train), images.test.labels.tolist()) == (4, [1])


def test_test_folder_is_preferred_to_validation(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"a": 2, "b": 2})
    write_folder(tmp_path / "val", {"a": 1, "b": 1}, first=10)
    write_folder(tmp_path / "test", {"a": 2, "b": 1}, first=20)
    images = image_folder(tmp_path)
    assert images.test is not None
    assert len(images.test) == 3


def test_train_folder_alone_and_a_class_called_train(tmp_path: Path) -> None:
    write_folder(tmp_path / "alone" / "train", {"a": 2, "b": 2})
    assert image_folder(tmp_path / "alone").classes == ("a", "b")
    write_folder(tmp_path / "vehicles", {"bus": 1, "train": 1})
    assert image_folder(tmp_path / "vehicles").classes == ("bus", "train")


def test_second_time_comes_from_the_cache_until_a_file_changes(tmp_path: Path, image_cache: Path) -> None:
    write_folder(tmp_path, {"a": 2, "b": 2})
    first = image_folder(tmp_path, cache=True)
    again = image_folder(tmp_path, cache=True)
    assert torch.equal(again.train.images, first.train.images)
    assert again.report == first.report
    (file,) = image_cache.iterdir()
    assert again.report is not None
    assert again.report.cache_file == str(file)
    noise_image(99).save(tmp_path / "a" / "000.png")
    os.utime(tmp_path / "a" / "000.png", (10**9, 10**9))
    assert rows(image_folder(tmp_path, cache=True).train.images) != rows(first.train.images)


def test_missing_folder(tmp_path: Path) -> None:
    with refused(DataError, problem=f"'{tmp_path / 'gone'}'", required="class folders", found="nothing there"):
        image_folder(tmp_path / "gone")
    (tmp_path / "file").write_text("")
    with refused(DataError, problem=f"'{tmp_path / 'file'}'", required="class folders", found="a file"):
        image_folder(tmp_path / "file")


def test_empty_folder(tmp_path: Path) -> None:
    with refused(DataError, problem=f"'{tmp_path}'", required="at least two class folders", found="no class folder"):
        image_folder(tmp_path)


def test_images_without_class_folders(tmp_path: Path) -> None:
    noise_image(0).save(tmp_path / "a.png")
    with refused(DataError, found=("no class folder", "1 images beside"), hint="a folder of their own"):
        image_folder(tmp_path)


def test_one_class(tmp_path: Path) -> None:
    write_folder(tmp_path, {"only": 2})
    with refused(DataError, required="at least two class folders", found="only"):
        image_folder(tmp_path)


def test_class_without_images(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 2, "b": 0})
    with refused(DataError, problem=f"'{tmp_path / 'b'}'", required=("image", ".png"), found="none", hint="delete"):
        image_folder(tmp_path)


def test_test_class_that_is_never_learned(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"a": 2, "b": 2})
    write_folder(tmp_path / "test", {"c": 2}, first=10)
    with refused(DataError, problem=f"'{tmp_path / 'test' / 'c'}'", required=("training data", "a, b"), found="'c'"):
        image_folder(tmp_path)


def test_empty_test_folder(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"a": 2, "b": 2})
    (tmp_path / "test").mkdir()
    with refused(DataError, problem=f"'{tmp_path / 'test'}'", found="no class folder", hint=("delete", "20%")):
        image_folder(tmp_path)


def test_corrupt_image(tmp_path: Path, image_cache: Path) -> None:
    write_folder(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "b" / "001.png").write_bytes(b"damaged")
    with refused(DataError, problem=f"'{tmp_path / 'b' / '001.png'}'", found="UnidentifiedImageError"):
        image_folder(tmp_path)
    assert not list(image_cache.iterdir())
