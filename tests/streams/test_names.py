"""Names that are no text, of classes and of folders, are read and can be printed and saved (case 10)."""

from __future__ import annotations

import contextlib
import json
import os
import unicodedata
from pathlib import Path

import pytest

from hypertail.errors import DataError
from hypertail.streams import build_stream, experience_from_folder
from hypertail.streams.names import printable, shown
from hypertail.streams.sources.folders import image_folder
from hypertail.streams.sources.hub import HubSource, hub_dataset
from support.errors import check_fields, refused
from support.image_sources import noise_image, write_folder

LATIN = os.fsdecode(b"caf\xe9")


def writes_such_names(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        (folder / LATIN).mkdir(parents=True)
        (folder / LATIN).rmdir()
        return True
    return False


@pytest.fixture
def root(tmp_path: Path) -> Path:
    if not writes_such_names(tmp_path):
        pytest.skip("this file system takes UTF-8 alone")
    return tmp_path


def is_text(value: object) -> bool:
    json.dumps(value, ensure_ascii=False).encode()
    str(value).encode()
    return True


def test_case_10_a_class_folder(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Case 10: the class is read under a name that can be printed and put into JSON, and this is said."""
    write_folder(root, {LATIN: 5, "tea": 5})
    for cache in (False, True):
        stream = build_stream(f"folder:{root}", cache=cache)
        assert sorted(stream[0].classes) == ["caf\\xe9", "tea"]
        (report,) = stream.reports
        print(*report.lines(), sep="\n")
        assert "written with their bytes: caf\\xe9" in capsys.readouterr().out
        assert is_text(report.to_json())
    assert experience_from_folder(root).classes == ("caf\\xe9", "tea")


def test_case_10_the_root_and_files(root: Path) -> None:
    """Case 10: the folder itself, and files in it."""
    folder = root / LATIN
    write_folder(folder, {"a": 5, "b": 5})
    (folder / "a" / "000.png").rename(folder / "a" / os.fsdecode(b"\xff.png"))
    (folder / "a" / os.fsdecode(b"\xfe.doc")).write_bytes(b"")
    for cache in (False, True):
        stream = build_stream(f"folder:{folder}", cache=cache)
        assert is_text(stream.name)
        assert is_text([experience.name for experience in stream])
        assert is_text(stream.reports[0].to_json())
        assert stream.reports[0].name == "caf\\xe9"
    assert is_text(experience_from_folder(folder).name)


def test_case_10_in_messages(root: Path) -> None:
    """Case 10: what is refused is named, in text."""
    write_folder(root, {LATIN: 2, "tea": 2})
    bad = root / LATIN / os.fsdecode(b"\xe8.png")
    bad.write_bytes(b"no image")
    with pytest.raises(DataError) as caught:
        image_folder(root)
    check_fields(caught.value, problem="caf\\xe9/\\xe8.png'")
    bad.unlink()
    write_folder(root, {f"{LATIN}2": 0})
    for path in (root, root / LATIN, root / f"{LATIN}3"):
        with pytest.raises(DataError) as caught:
            image_folder(path)
        check_fields(caught.value, problem="caf\\xe9")
        assert is_text(str(caught.value))


def test_case_10_in_a_local_hub_folder_and_its_root(root: Path) -> None:
    """Case 10: brother in `hub:`."""
    write_folder(root / "a/b/train", {LATIN: 5, "tea": 5})
    assert hub_dataset(HubSource("a/b"), image_size=16, data=root).classes == ("caf\\xe9", "tea")
    (root / LATIN).mkdir()
    with pytest.raises(DataError) as caught:
        hub_dataset(HubSource("a/b"), image_size=16, data=root / LATIN)
    assert is_text(str(caught.value))
    with pytest.raises(DataError) as caught:
        hub_dataset(HubSource("a/b"), image_size=16, data=root / f"{LATIN}-gone")
    assert is_text(str(caught.value))


def test_case_10_the_cache_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 10: brother in the name of the cache folder."""
    monkeypatch.setenv("HYPERTAIL_CACHE", str(root / LATIN))
    write_folder(root / "photos", {"a": 3, "b": 3})
    (report,) = build_stream(f"folder:{root / 'photos'}", cache=True).reports
    assert report.cache_file is not None
    assert "caf\\xe9" in report.cache_file
    (root / "full").write_text("")
    monkeypatch.setenv("HYPERTAIL_CACHE", str(root / "full" / LATIN))
    with pytest.warns(RuntimeWarning) as caught:
        build_stream(f"folder:{root / 'photos'}", cache=True)
    assert is_text(str(caught[0].message))


def test_letters_with_accents_are_one_name_however_they_are_spelled(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    write_folder(tmp_path / "train", {composed: 2, "tea": 2})
    write_folder(tmp_path / "test", {apart: 2, "tea": 2}, first=10)
    images = image_folder(tmp_path)
    assert images.classes == ("café", "tea")
    assert images.test is not None
    assert images.test.labels.tolist() == [0, 0, 1, 1]
    (tmp_path / "train" / apart).mkdir(exist_ok=True)
    if len(list((tmp_path / "train").iterdir())) == 3:
        noise_image(30).save(tmp_path / "train" / apart / "0.png")
        with refused(DataError, found="'café'"):
            image_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", "plain"),
        ("übung 寿司 🍣", "übung 寿司 🍣"),
        ("a\nb\x1b[31m", "a\\x0ab\\x1b[31m"),
        ("caf\udce9", "caf\\xe9"),
        ("\ud83d", "\\ud83d"),
        ("line\u2028break", "line\\u2028break"),
    ],
)
def test_printable(name: str, expected: str) -> None:
    assert printable(name) == shown(name) == expected
