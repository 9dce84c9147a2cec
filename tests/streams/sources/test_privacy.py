"""What a user's folder holds is kept decoded only where the user asks for it (case 27)."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypertail.streams import build_stream, experience_from_folder
from support.image_sources import write_classes, write_folder

PUBLIC = {"split-cifar10": 1, "hub:uoft-cs/cifar10": 1, "pair:svhn,cifar10": 2}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_classes(tmp_path, "uoft-cs/cifar10", 10, columns=("img", "label"), size=(8, 8))
    write_classes(tmp_path, "ufldl-stanford/svhn", 10, size=(8, 8))
    write_classes(tmp_path, "me/mine", 4, size=(8, 8))
    write_folder(tmp_path / "me/photos", {"a": 5, "b": 5})
    write_folder(tmp_path / "photos", {"a": 5, "b": 5})
    return tmp_path


def said(reports: object) -> bool:
    return "the decoded images are kept in" in str([report.lines() for report in reports])  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["folder:{}/photos", "hub:me/mine", "hub:me/photos"])
def test_case_27_own_folders_leave_nothing_unless_asked(root: Path, image_cache: Path, name: str) -> None:
    """Case 27: off by default for `folder:` and for local datasets that are no named benchmark."""
    name = name.format(root)
    for cache in (None, False):
        stream = build_stream(name, data=root, image_size=8, cache=cache)
        assert not list(image_cache.iterdir())
        assert not said(stream.reports)
    again = build_stream(name, data=root, image_size=8, cache=True)
    assert len(list(image_cache.iterdir())) == 1
    assert said(again.reports)
    assert again.reports[0].cache_file == str(next(image_cache.iterdir()))
    assert again.digest == stream.digest


def test_case_27_a_folder_as_an_experience(root: Path, image_cache: Path) -> None:
    """Case 27: `experience_from_folder`."""
    experience_from_folder(root / "photos")
    assert not list(image_cache.iterdir())
    experience = experience_from_folder(root / "photos", cache=True)
    assert len(list(image_cache.iterdir())) == 1
    assert said([experience.report])


@pytest.mark.parametrize("name", PUBLIC)
def test_case_27_public_benchmarks_are_kept_unless_told_otherwise(root: Path, image_cache: Path, name: str) -> None:
    """Case 27: on for named benchmarks, and said."""
    assert not said(build_stream(name, data=root, image_size=8, cache=False).reports)
    assert not list(image_cache.iterdir())
    assert said(build_stream(name, data=root, image_size=8).reports)
    assert len(list(image_cache.iterdir())) == PUBLIC[name]
