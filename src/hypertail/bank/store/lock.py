"""One writer at a time: a lock that ends with the process that holds it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from hypertail.bank.store.reading import check_no_link
from hypertail.errors import ConfigError

PAUSE = 0.05
"""Seconds between two looks at a lock that another process holds."""


@contextlib.contextmanager
def exclusive(path: Path, wait: float) -> Iterator[None]:
    """Hold the lock of a file inside the block. The system lets go of it when the process ends, however it does.

    Args:
        path: of the lock's file, which stays.
        wait: seconds to wait for another process.

    Raises:
        ConfigError: another process holds it; its id is named.
        CheckpointError: the file is a link.
        OSError: it cannot be written.
    """
    check_no_link(path)
    with open(path, "a+b", opener=_opened) as file:
        until = time.monotonic() + wait
        while not _taken(file):
            if time.monotonic() >= until:
                file.seek(0)
                holder = file.read(20).decode(errors="replace").strip() or "unknown"
                raise ConfigError(
                    f"bank {path.parent} is being changed",
                    required="one writer at a time",
                    found=f"process {holder}, which changes it now",
                    hint="Wait until it is done; reading goes on meanwhile.",
                )
            time.sleep(PAUSE)
        try:
            file.truncate(0)
            file.write(str(os.getpid()).encode())
            file.flush()
            yield
        finally:
            with contextlib.suppress(OSError):
                file.truncate(0)
            _let_go(file)


def is_held(path: Path) -> bool:
    """Whether a process holds the lock just now; False where that cannot be told.

    Args:
        path: of the lock's file, which is only read.
    """
    try:
        with open(path, "rb", opener=_opened) as file:
            if not _taken(file):
                return True
            _let_go(file)
    except OSError:
        pass
    return False


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _taken(file: IO[bytes]) -> bool:
    """Whether the lock could be taken at once."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        try:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _let_go(file: IO[bytes]) -> None:
    try:
        import fcntl
    except ImportError:
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]
        return
    fcntl.flock(file, fcntl.LOCK_UN)
