"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypertail.storage.atomic import write_bytes, write_text, write_with


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_written_and_written_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.txt"
    write_text(path, "é")
    assert path.read_bytes() == "é".encode()
    write_bytes(path, b"other")
    assert path.read_bytes() == b"other"
    assert [file.name for file in path.parent.iterdir()] == ["a.txt"]


def fill(part: Path) -> None:
    part.write_text("new")


def fill_up(part: Path) -> None:
    part.write_bytes(b"half")
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
@pytest.mark.parametrize("before", ["old", None])
def test_a_full_disk_keeps_what_was_there(
    step: str, before: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """case 18: at each step; the error names the file, and no temporary is left."""
    path = tmp_path / "a.txt"
    if before is not None:
        path.write_text(before)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if step != "write":
        monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.txt'") as caught:
        write_with(path, fill_up if step == "write" else fill)
    assert caught.value.errno == errno.ENOSPC
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == ([("a.txt", before)] if before else [])


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(part: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_with(tmp_path / "a.txt", interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("links", [True, False])
def test_what_is_there_is_not_replaced_unless_told(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "a.txt"
    write_text(path, "old", replace=False)
    with pytest.raises(FileExistsError):
        write_text(path, "new", replace=False)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.usefixtures("umask")
def test_the_umask_decides_who_may_read(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "x")

    def make_anew(part: Path) -> None:
        part.unlink()
        part.touch(mode=0o600)

    write_with(tmp_path / "b", make_anew)
    assert [path.stat().st_mode & 0o777 for path in sorted(tmp_path.iterdir())] == [0o640, 0o640]


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "to" / "a")
    write_text(link, "x")
    assert link.is_symlink()
    assert (tmp_path / "to" / "a").read_text() == "x"


def test_a_device_is_written_to_and_stays_one() -> None:
    write_text(Path(os.devnull), "x")
    assert not Path(os.devnull).is_file()


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="folder"):
        write_text(tmp_path, "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_text(tmp_path / "folder", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
