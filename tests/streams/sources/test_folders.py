"""Image folders as datasets, and what is wrong with those that are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from hypertail.errors import DataError
from hypertail.streams import read_images
from hypertail.streams.sources.folders import image_folder
from support.image_sources import noise_image, write_folder


def message(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        image_folder(path)
    return str(caught.value)


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
    assert message(tmp_path / "gone") == (
        f"image folder '{tmp_path / 'gone'}': required a folder of class folders; found nothing there. Check the path."
    )
    (tmp_path / "file").write_text("")
    assert "; found a file. Check" in message(tmp_path / "file")


def test_empty_folder(tmp_path: Path) -> None:
    assert message(tmp_path) == (
        f"image folder '{tmp_path}': required at least two class folders with images in them; found no class "
        "folder. Put the images of each class into a folder of their own, named like the class."
    )


def test_images_without_class_folders(tmp_path: Path) -> None:
    noise_image(0).save(tmp_path / "a.png")
    assert "; found no class folder, with 1 images beside them. Put" in message(tmp_path)


def test_one_class(tmp_path: Path) -> None:
    write_folder(tmp_path, {"only": 2})
    assert "required at least two class folders with images in them; found only. Put" in message(tmp_path)


def test_class_without_images(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 2, "b": 0})
    assert message(tmp_path) == (
        f"class folder '{tmp_path / 'b'}': required at least one image that Pillow reads (.jpg, .png, .webp and "
        "others); found none. Add images to it, or delete the folder."
    )


def test_test_class_that_is_never_learned(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"a": 2, "b": 2})
    write_folder(tmp_path / "test", {"c": 2}, first=10)
    assert message(tmp_path) == (
        f"test class folder '{tmp_path / 'test' / 'c'}': required a class of the training data (a, b); "
        "found 'c'. Add training images of that class, or remove its test folder."
    )


def test_empty_test_folder(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"a": 2, "b": 2})
    (tmp_path / "test").mkdir()
    assert message(tmp_path) == (
        f"test folder '{tmp_path / 'test'}': required class folders named like those of the training data; "
        "found no class folder. Fill it, or delete it to have 20% of the training images held out instead."
    )


def test_corrupt_image(tmp_path: Path, image_cache: Path) -> None:
    write_folder(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "b" / "001.png").write_bytes(b"damaged")
    assert message(tmp_path).startswith(
        f"image '{tmp_path / 'b' / '001.png'}': required a readable image; found UnidentifiedImageError"
    )
    assert not list(image_cache.iterdir())
