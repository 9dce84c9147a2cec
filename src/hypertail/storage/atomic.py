"""Write a file whole or not at all: a crash, a full disk or a kill leaves the old one as it was."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

SUFFIX = ".part"
"""Ends the name of a file that is being written: `.NAME.XXXXXXXX.part`, in the folder of NAME."""


def write_text(path: Path, text: str, *, replace: bool = True) -> None:
    """Write `text` as UTF-8, as `write_with` does; half a surrogate pair becomes `?`."""
    write_bytes(path, text.encode(errors="replace"), replace=replace)


def write_bytes(path: Path, content: bytes, *, replace: bool = True) -> None:
    """Write `content`, as `write_with` does."""
    write_with(path, lambda part: _write_all(part, content), replace=replace)


def write_with(path: Path, write: Callable[[Path], None], *, replace: bool = True) -> None:
    """Let `write` make a file beside `path`, bring it to the disk, and only then give it the name `path`.

    The file is as readable as any other of the user (the umask decides). Folders are made where missing. A link is
    followed; a device or a pipe is written to directly.

    Args:
        path: of the file.
        write: fills the file whose path it is given; the file is there already, and empty.
        replace: put it in the place of a file that is there.

    Raises:
        FileExistsError: there is something at `path` already, and `replace` is False.
        OSError: it cannot be written, for lack of room, say; what was there before is kept, and nothing else is left.
    """
    if path.is_symlink():
        path = path.resolve()
    if path.exists() and not path.is_file() and not path.is_dir():
        write(path)
        return
    make_folder(path.parent)
    part = None
    try:
        part = _new_part(path)
        mode = part.stat().st_mode
        write(part)
        part.chmod(mode)  # `write` may have made it anew
        _sync(part)
        if replace:
            os.replace(part, path)
        else:
            _place(part, path)
    except OSError as error:
        if error.errno is None or (error.filename == str(path) and error.filename2 is None):
            raise
        # the name of the file that was asked for, in the place of one that is gone by now
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        if part is not None:
            with contextlib.suppress(OSError):  # it would hide what went wrong, and be cleared by the next start
                part.unlink(missing_ok=True)
    sync_folder(path.parent)


def move(made: Path, path: Path) -> None:
    """Give a whole file that `write_with` made the name `path`, in one step; folders are made where missing.

    Raises:
        OSError: it cannot be, as from one disk to another; both names are as they were.
    """
    make_folder(path.parent)
    os.replace(made, path)
    sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are missing, and bring their names to the disk.

    Raises:
        OSError: it cannot be made.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Bring the name to the disk, too, where a system can do that; the file itself is safe already."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _new_part(path: Path) -> Path:
    while True:
        part = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}{SUFFIX}")
        with contextlib.suppress(FileExistsError):
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            return part


def _write_all(part: Path, content: bytes) -> None:
    with part.open("wb") as file:
        file.write(content)


def _place(part: Path, path: Path) -> None:
    """Move `part` to `path` unless something is there already."""
    try:
        # A hard link fails if the name is taken, also when another process took it a moment ago.
        os.link(part, path)
    except OSError:
        if path.exists():
            raise FileExistsError(17, "File exists", str(path)) from None
        os.replace(part, path)  # a file system without hard links


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
