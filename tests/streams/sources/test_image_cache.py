"""Decoded images are made once, and made again when the file is not what was written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import torch

from hypertail.streams.sources.cache import cache_folder, cached, fingerprint
from hypertail.streams.sources.labelled import LabelledImages, described
from hypertail.streams.stream import Examples


class Builder:
    """Builds a small dataset and counts how often it was asked to."""

    def __init__(self, test: bool = True) -> None:
        self.calls, self.test = 0, test

    def __call__(self) -> LabelledImages:
        self.calls += 1
        train, test = (
            Examples(torch.arange(first, first + 96, dtype=torch.uint8).view(2, 3, 4, 4), torch.tensor([0, 1]))
            for first in (0, 96)
        )
        return LabelledImages("set", ("zero", "öne"), train, test if self.test else None)


@pytest.mark.parametrize("test", [True, False])
def test_second_time_is_read_and_equal(image_cache: Path, test: bool) -> None:
    build = Builder(test)
    first, second = cached("set", (1,), build), cached("set", (1,), build)
    assert build.calls == 1
    assert second.classes == first.classes
    assert torch.equal(second.train.images, first.train.images)
    assert torch.equal(second.train.labels, first.train.labels)
    assert (second.test is None) is (not test)
    assert [path.suffix for path in image_cache.iterdir()] == [".safetensors"], "a partial file was left behind"


def test_another_key_is_another_file(image_cache: Path) -> None:
    build = Builder()
    for key in ((1,), (2,), (1, 2)):
        cached("set", key, build)
    assert build.calls == 3
    assert len(list(image_cache.iterdir())) == 3


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip_pixel(content: bytes) -> bytes:
    return content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]


def empty(content: bytes) -> bytes:
    return b""


def scramble(content: bytes) -> bytes:
    return b"not a cache file" * 9


@pytest.mark.parametrize("damage", [cut, flip_pixel, empty, scramble])
def test_damaged_file_is_rebuilt(image_cache: Path, damage: object) -> None:
    assert callable(damage)
    build = Builder()
    whole = cached("set", (1,), build)
    (path,) = image_cache.iterdir()
    content = path.read_bytes()
    path.write_bytes(damage(content))
    again = cached("set", (1,), build)
    assert build.calls == 2
    assert torch.equal(again.train.images, whole.train.images)
    cached("set", (1,), build)
    assert build.calls == 2, "the file was not mended"


def test_foreign_safetensors_file_is_rebuilt(image_cache: Path) -> None:
    from safetensors.torch import save_file

    build = Builder()
    cached("set", (1,), build)
    (path,) = image_cache.iterdir()
    save_file({"weights": torch.zeros(3)}, path)
    cached("set", (1,), build)
    assert build.calls == 2


def test_unwritable_cache_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HYPERTAIL_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(RuntimeWarning) as caught:
        images = cached("set", (1,), Builder())
    assert str(caught[0].message) == (
        f"decoded images of set could not be cached in {tmp_path / 'file' / 'cache'} (Not a directory); "
        "set HYPERTAIL_CACHE to a writable folder to load faster next time"
    )
    assert len(images.train) == 2


def test_default_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYPERTAIL_CACHE")
    assert cache_folder() == Path("~/.cache/hypertail").expanduser()


def test_fingerprint_notices_names_sizes_times_and_place(tmp_path: Path) -> None:
    seen = set()

    def look(folder: Path) -> str:
        return fingerprint(folder, folder.iterdir())

    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "a").write_text("x")
        os.utime(folder / "a", ns=(10**18, 10**18))
        seen.add(look(folder))
    assert look(folder) in seen
    (folder / "a").write_text("xy")
    os.utime(folder / "a", ns=(10**18, 10**18))
    seen.add(look(folder))
    os.utime(folder / "a", ns=(10**18, 10**18 + 1000))
    seen.add(look(folder))
    (folder / "a").rename(folder / "b")
    seen.add(look(folder))
    assert len(seen) == 5


@pytest.mark.skipif(os.name == "nt", reason="no modes there")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_case_23_files_are_as_readable_as_others(image_cache: Path, umask: int, mode: int) -> None:
    """Case 23: the umask decides who can read a file, also when it is made anew."""
    before = os.umask(umask)
    try:
        cached("set", (1,), Builder())
        (path,) = image_cache.iterdir()
        assert stat.S_IMODE(path.stat().st_mode) == mode
        path.write_bytes(b"damaged")
        cached("set", (1,), Builder())
        assert stat.S_IMODE(path.stat().st_mode) == mode
    finally:
        os.umask(before)


@pytest.mark.skipif(os.name == "nt", reason="no modes there")
def test_case_23_the_folder_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 23: brother: the folder that is made for them."""
    monkeypatch.setenv("HYPERTAIL_CACHE", str(tmp_path / "new" / "cache"))
    before = os.umask(0o022)
    try:
        cached("set", (1,), Builder())
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new" / "cache").stat().st_mode) == 0o755


def test_the_report_is_kept(image_cache: Path) -> None:
    build = Builder()
    first = cached("set", (1,), lambda: described(build(), "somewhere", ("a notice",)))
    second = cached("set", (1,), lambda: pytest.fail("built again"))
    assert first.report == second.report
    assert second.report is not None
    (path,) = image_cache.iterdir()
    assert second.report.cache_file == str(path)
    assert "a notice" in second.report.notices
    assert second.report.splits == {"train": {"zero": 1, "öne": 1}, "test": {"zero": 1, "öne": 1}}
