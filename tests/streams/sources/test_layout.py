"""Folders for training and testing, in all usual spellings, are told from class folders (case 8)."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypertail.errors import DataError
from hypertail.streams import build_stream, experience_from_folder
from hypertail.streams.sources.folders import image_folder
from hypertail.streams.sources.hub import HubSource, hub_dataset
from hypertail.streams.sources.labelled import LabelledImages
from hypertail.streams.sources.splits import find_splits, split_of
from support.errors import Texts, refused
from support.image_sources import noise_image, png, write_folder, write_split

PAIRS = [
    *(("Train", "Test"), ("training", "testing"), ("TRAIN", "VAL"), ("train", "dev"), ("Training", "Validation")),
    *(
        ("train_set", "test_set"),
        ("Training Data", "Test Data"),
        ("trainset", "testset"),
        ("train-images", "val-images"),
    ),
    *(("seg_train", "seg_test"), ("train2017", "val2017"), ("trn", "tst"), ("TrainingSet", "TestSet"), ("tr", "te")),
    *(("train", "eval"), ("train", "holdout"), ("train", "held_out"), ("trainval", "test"), ("my-train", "my-valid")),
]


def lines(images: LabelledImages) -> str:
    assert images.report is not None
    return "\n".join(images.report.lines())


@pytest.mark.parametrize(("train", "test"), PAIRS)
def test_case_08_usual_spellings_are_splits(tmp_path: Path, train: str, test: str) -> None:
    """Case 8: the folders of the splits never become the classes."""
    write_folder(tmp_path / train, {"cat": 3, "dog": 4})
    write_folder(tmp_path / test, {"cat": 2, "dog": 1}, first=10)
    images = image_folder(tmp_path)
    assert images.classes == ("cat", "dog")
    assert images.train.labels.tolist() == [0] * 3 + [1] * 4
    assert images.test is not None
    assert images.test.labels.tolist() == [0, 0, 1]
    assert f"training images are those in {train}/, test images those in {test}/" in lines(images)
    stream = build_stream(f"folder:{tmp_path}")
    assert (len(stream[0].train), len(stream[0].test)) == (7, 3)
    assert experience_from_folder(tmp_path).classes == ("cat", "dog")


@pytest.mark.parametrize("extra", ["pred", "seg_pred", "unlabelled", "notes"])
def test_case_08_what_is_no_split_is_left_out_and_said(tmp_path: Path, extra: str) -> None:
    """Case 8: `train/ test/ pred/`."""
    write_folder(tmp_path / "train", {"cat": 3, "dog": 4})
    write_folder(tmp_path / "test", {"cat": 2, "dog": 1}, first=10)
    write_folder(tmp_path, {extra: 5}, first=20)
    images = image_folder(tmp_path)
    assert images.classes == ("cat", "dog")
    assert f"5 files in {extra}/, which is no split" in lines(images)
    assert f"left out as a whole: {extra}/" in lines(images)


def test_case_08_validation_beside_test(tmp_path: Path) -> None:
    """Case 8: a validation folder is test data only where there is no test folder, and this is said."""
    write_folder(tmp_path / "Train", {"cat": 3, "dog": 4})
    write_folder(tmp_path / "Validation", {"cat": 2, "dog": 1}, first=10)
    images = image_folder(tmp_path)
    assert images.test is not None
    assert len(images.test) == 3
    assert "test images those in Validation/ (there is no test folder)" in lines(images)
    write_folder(tmp_path / "Testing", {"cat": 1, "dog": 1}, first=20)
    images = image_folder(tmp_path)
    assert images.test is not None
    assert len(images.test) == 2
    assert "left out: 3 files in Validation/, since test images are those in Testing/ (Validation/" in lines(images)


def test_case_08_a_folder_in_a_folder_of_its_name(tmp_path: Path) -> None:
    """Case 8: `seg_train/seg_train/CLASS`, as archives unpack."""
    write_folder(tmp_path / "seg_train" / "seg_train", {"sea": 3, "wood": 3})
    write_folder(tmp_path / "seg_test" / "seg_test", {"sea": 1, "wood": 1}, first=10)
    write_folder(tmp_path / "seg_pred", {"seg_pred": 2}, first=20)
    images = image_folder(tmp_path)
    assert images.classes == ("sea", "wood")
    assert images.test is not None
    assert len(images.test) == 2


@pytest.mark.parametrize(
    ("folders", "found"),
    [
        (["entrenamiento/cat", "entrenamiento/dog", "prueba/cat", "prueba/dog"], ("the same sub-folders", "cat, dog")),
        (["2021/cat", "2021/dog", "2022/cat", "2022/dog"], ("the same sub-folders", "cat, dog")),
        (["cat/train", "cat/test", "dog/train", "dog/test"], ("training and testing", "test, train")),
        (["cat/Train", "cat/Val", "dog", "owl"], ("training and testing", "Train, Val")),
        (["test/cat", "test/dog", "val/cat", "val/dog"], "only test, val"),
        (["test/cat", "test/dog", "cat", "dog"], ("'test'", "beside class folders")),
        (["Train/cat", "Train/dog", "training/cat", "training/dog", "test/cat"], ("Train", "training")),
        (["train/cat", "train/dog", "more/cat", "more/dog"], ("'train'", "beside more/")),
        (["train", "test"], ("no class folder", "2 images beside")),
        (["trainA", "trainB", "testA", "testB"], ("trainA", "trainB")),
        (["photos/cat", "photos/dog"], "photos"),
    ],
)
def test_case_08_what_cannot_be_told_is_refused(tmp_path: Path, folders: list[str], found: Texts) -> None:
    """Case 8: splits in words that are not known, splits within classes, splits without a training folder."""
    for number, folder in enumerate(folders):
        write_folder(tmp_path, {folder: 2}, first=2 * number)
    with refused(DataError, problem=f"'{tmp_path}", found=found):
        image_folder(tmp_path)


def test_case_08_a_single_folder_of_class_folders_is_offered_as_the_path(tmp_path: Path) -> None:
    """Case 8: brother: one folder too high."""
    write_folder(tmp_path, {"photos/cat": 2, "photos/dog": 2})
    with refused(DataError, problem=f"'{tmp_path}'", hint=f"give the path '{tmp_path / 'photos'}'"):
        image_folder(tmp_path)


def test_case_08_classes_that_only_look_like_splits(tmp_path: Path) -> None:
    """Case 8, the other way round: vehicles, places and sites are classes still."""
    write_folder(tmp_path / "a", {"bus": 2, "train": 2, "test": 2})
    with refused(DataError, problem=f"'{tmp_path / 'a' / 'train'}'", required="at least two class folders"):
        image_folder(tmp_path / "a")
    write_folder(tmp_path / "b", {"bus": 2, "train": 2})
    assert image_folder(tmp_path / "b").classes == ("bus", "train")
    write_folder(tmp_path / "c", {"train station": 2, "bus stop": 2, "test tube": 2})
    assert image_folder(tmp_path / "c").classes == ("bus stop", "test tube", "train station")
    write_folder(tmp_path / "d", {"cat/images": 2, "dog/images": 2})
    assert image_folder(tmp_path / "d").classes == ("cat", "dog")
    write_folder(tmp_path / "e", {"cat/site 1": 2, "cat/site 2": 1, "dog/site 1": 2})
    images = image_folder(tmp_path / "e")
    assert images.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert "images in sub-folders of 2 class folders belong to those classes" in lines(images)


def test_case_08_a_local_hub_folder_of_images_is_read_the_same_way(tmp_path: Path) -> None:
    """Case 8: brother in `hub:`, where `Train/ Test/` were read as one training split."""
    write_folder(tmp_path / "a/b/Train", {"cat": 3, "dog": 4})
    write_folder(tmp_path / "a/b/Test", {"cat": 2, "dog": 1}, first=10)
    images = hub_dataset(HubSource("a/b"), image_size=32, data=tmp_path)
    assert (images.name, images.purpose) == ("a/b", "a/b")
    assert images.test is not None
    assert (len(images.train), len(images.test)) == (7, 3)


def test_case_08_tables_whose_names_say_splits_in_capitals(tmp_path: Path) -> None:
    """Case 8: brother in parquet: `Train.parquet` and `Test.parquet` would be one training split."""
    for first, split in ((0, "Train"), (4, "Test")):
        cells = [png(noise_image(first + number)) for number in range(4)]
        write_split(tmp_path, "a/b", split, cells, ["x", "y"] * 2, file="{split}.parquet")
    with refused(DataError, problem="'a/b'", found=("one split", "'Train'", "'Test'")):
        hub_dataset(HubSource("a/b"), image_size=32, data=tmp_path)


def test_case_08_papers_beside_tables_are_no_splits(tmp_path: Path) -> None:
    """Case 8, the other way round: a file about testing is no test data."""
    write_split(
        tmp_path, "a/b", "train", [png(noise_image(row)) for row in range(4)], ["x", "y"] * 2, file="train.parquet"
    )
    (tmp_path / "a/b/Test.py").write_text("")
    (tmp_path / "a/b/Eval.md").write_text("")
    assert hub_dataset(HubSource("a/b"), image_size=32, data=tmp_path).test is None


def test_case_08_splits_of_a_hub_dataset_by_other_names(tmp_path: Path) -> None:
    """Case 8: brother in the hub's own splits, and what is not used is said."""
    for first, split in ((0, "training"), (4, "dev"), (8, "extra")):
        cells = [png(noise_image(first + number)) for number in range(4)]
        write_split(tmp_path, "a/b", split, cells, ["x", "y"] * 2, file="{split}.parquet")
    listed = "".join(f"  - split: {name}\n    path: {name}.parquet\n" for name in ("training", "dev", "extra"))
    (tmp_path / "a/b/README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files:\n{listed}---\n")
    images = hub_dataset(HubSource("a/b"), image_size=32, data=tmp_path)
    assert images.test is not None
    assert "splits: training images from 'training', test images from 'dev'; not used: 'extra'" in lines(images)


@pytest.mark.parametrize("name", ["bus", "vale", "xtrain", "contest", "dev board", "tr 5", "detrain", "evaluator", ""])
def test_names_that_are_no_splits(name: str) -> None:
    assert split_of(name) is None


def test_a_split_with_company_is_found_among_others() -> None:
    found = find_splits(["seg_pred", "seg_test", "seg_train", "train station"])
    assert (found.train, found.test, found.others) == ("seg_train", "seg_test", ("seg_pred", "train station"))
