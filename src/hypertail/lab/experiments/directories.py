"""Run directories: what lies in one, who works in it now, and how a run makes it its own."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from hypertail.errors import ConfigError
from hypertail.storage.atomic import SUFFIX
from hypertail.storage.generations import damaged_of, previous_of
from hypertail.storage.jsonfile import JsonError, read_json
from hypertail.training.within import unfinished_of

try:
    import fcntl as _fcntl

    fcntl: ModuleType | None = _fcntl
except ImportError:  # Windows
    fcntl = None

OPTIONS, RUN, CHECKPOINT = "config.json", "run.json", "checkpoint.safetensors"
TRUNK = "trunk.safetensors"
"""The checkpoint of training the trunk, until that is done and the trunk lies where runs share it."""
TRAINED = "trunk.trained.safetensors"
"""The trunk on its way there."""
FAILURE, PRUNED = "failure.json", "pruned.json"
"""Beside them, where `hypertail tune` found that a run failed, or gave it up."""
LOCK = ".lock"
"""Is there, and locked, as long as a process works in the directory; holds its id and the name of its machine."""

# in the order in which they may go: options last, so that what is left is never taken for a run with others
_STATES = tuple(
    place.name
    for checkpoint in (Path(TRUNK), Path(CHECKPOINT))
    for place in (unfinished_of(checkpoint), damaged_of(checkpoint), checkpoint, previous_of(checkpoint))
)
_OF_TRUNK = (TRAINED, *(name for name in _STATES if name.startswith(f"{Path(TRUNK).stem}.")))
_OWN = (RUN, FAILURE, PRUNED, TRAINED, *_STATES, OPTIONS)


@dataclass(frozen=True)
class Claim:
    """A run directory that this process alone works in."""

    directory: Path
    handle: int

    def check(self) -> None:
        """Find out whether it still is this process's own.

        Raises:
            ConfigError: it was deleted, and perhaps another process works in a new one of its name.
        """
        if not _is_at(self.handle, self.directory / LOCK):
            raise ConfigError(
                f"run directory {self.directory}",
                required="the directory that this run began in",
                found="another one" if self.directory.exists() else "nothing: it was deleted or moved",
                hint="Move it back and resume, or start again.",
            )

    def forget_trunk(self) -> None:
        """Remove the state of training the trunk, which is done."""
        for name in _OF_TRUNK:
            with suppress(OSError):  # nothing depends on it
                (self.directory / name).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove what an earlier run left in it.

        Raises:
            ConfigError: something that no run makes lies in it; nothing is removed.
        """
        if foreign := _foreign(self.directory):
            more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
            raise ConfigError(
                f"run directory {self.directory}",
                required="files of a run and nothing else, to replace it",
                found=f"'{foreign[0].name}'{more}",
                hint="Move it elsewhere, or use another --out.",
            )
        _remove_parts(self.directory)
        for name in _OWN:
            (self.directory / name).unlink(missing_ok=True)


def is_taken(directory: Path) -> bool:
    """Whether something lies at `directory` that a new run would have to heed.

    A directory that is empty, or holds nothing but a lock and half-written files, is what is left of a run that was
    killed before it began.
    """
    if not directory.is_dir():
        return directory.exists() or directory.is_symlink()
    return any(path.name != LOCK and not _is_part(path) for path in directory.iterdir())


def has_state(directory: Path) -> bool:
    """Whether a run in it has saved what it can go on from."""
    return any((directory / name).is_file() for name in _STATES)


def refuse_busy(directory: Path) -> None:
    """Find out whether another process works in `directory`, without claiming it.

    Raises:
        ConfigError: one does.
    """
    if not (directory / LOCK).exists():
        return
    with suppress(FileNotFoundError):
        handle = _lock(directory, keep=True)
        os.close(handle)


@contextmanager
def claimed(directory: Path) -> Iterator[Claim]:
    """Make `directory` this process's own for the length of a `with`; it is made where missing.

    If nothing was put into it in the end, it is removed again, as are folders above it that were made for it.

    Raises:
        ConfigError: another process works in it, a file of that name is there, its path is not UTF-8, or it cannot be
            written.
    """
    if directory.exists() and not directory.is_dir():
        raise ConfigError(
            f"run directory {directory}", required="a folder, or nothing yet", found="a file", hint="Use another --out."
        )
    if not _is_text(directory):
        raise ConfigError(
            f"run directory {directory}",
            required="a path in UTF-8, as files of weights need it",
            found="another encoding",
            hint="Use another --out, rename the folder, or work within it.",
        )
    made = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    handle = None
    try:
        try:
            while handle is None:
                directory.mkdir(parents=True, exist_ok=True)
                # the folder may go at this moment, where another run fails that had made it
                with suppress(FileNotFoundError):
                    handle = _lock(directory)
            _remove_parts(directory)
        except OSError as error:
            raise _not_writable(directory, error) from error
        yield Claim(directory, handle)
    finally:
        if handle is not None:
            own = _is_at(handle, directory / LOCK)
            if fcntl is None:  # Windows removes no open file
                os.close(handle)
            if own:
                with suppress(OSError):
                    (directory / LOCK).unlink(missing_ok=True)
            if fcntl is not None:  # in this order: who waits for the lock finds that its file is gone
                os.close(handle)
        with suppress(OSError):  # not empty, or gone
            for folder in made:
                folder.rmdir()


def _is_text(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def tidy(directory: Path) -> None:
    """Remove what killed processes left in the directory of a finished run, as far as that can be."""
    names = {path.name for path in directory.iterdir()}
    if LOCK in names or not names.isdisjoint(_OF_TRUNK) or any(_is_part(directory / name) for name in names):
        with suppress(ConfigError, OSError), claimed(directory) as claim:
            claim.forget_trunk()


def _lock(directory: Path, *, keep: bool = False) -> int:
    """An open file that holds the lock of a directory; with `keep`, one that is there already, and stays as it is."""
    path = directory / LOCK
    if fcntl is None:
        return _exclusive(path, keep=keep)
    until = time.monotonic() + 0.2
    while True:
        handle, made = _open(path, make=not keep)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            if time.monotonic() > until:  # not just another process that looks, as `refuse_busy` does
                raise _busy(directory) from None
            time.sleep(0.02)
            continue
        except OSError:  # a file system that has no locks
            if made:
                _sign(handle)
                return handle
            os.close(handle)
            return _exclusive(path, keep=keep)
        if _is_at(handle, path):
            break
        os.close(handle)  # its owner removed it as we opened it
    if not keep:
        _sign(handle)
    return handle


def _open(path: Path, *, make: bool) -> tuple[int, bool]:
    """The open file, and whether it was not there before."""
    if make:
        with suppress(FileExistsError):
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), True
    return os.open(path, os.O_RDWR), False


def _exclusive(path: Path, *, keep: bool) -> int:
    """The same where files cannot be locked: a file that only one process can make."""
    while True:
        if keep or path.exists():
            owner = _owner(path)
            if owner is None or not _is_gone(*owner):
                raise _busy(path.parent, sure=False)
            if keep:
                return os.open(path, os.O_RDWR)
            path.unlink(missing_ok=True)
        with suppress(FileExistsError):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            _sign(handle)
            return handle


def _is_at(handle: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), path.stat())
    return False


def _sign(handle: int) -> None:
    os.ftruncate(handle, 0)
    os.write(handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())


def _owner(path: Path) -> tuple[int, str] | None:
    """Process id and machine in a lock file; None where it does not say."""
    with suppress(OSError, JsonError, KeyError, TypeError, ValueError):
        content = read_json(path)
        return int(content["pid"]), str(content["host"])
    return None


def _is_gone(pid: int, host: str) -> bool:
    """Whether a process is known to have ended; on another machine, or on Windows, nobody knows."""
    if host != socket.gethostname() or os.name != "posix":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _not_writable(directory: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"run directory {directory}",
        required="a folder that can be written to",
        found=error.strerror or str(error),
        hint="Use another --out, or make room and give leave to write there.",
    )


def _busy(directory: Path, *, sure: bool = True) -> ConfigError:
    owner = _owner(directory / LOCK)
    who = "another process" if owner is None else f"process {owner[0]} on {owner[1]}"
    hint = "Wait until it is done, or use another --out."
    if not sure:
        hint += f" If it has ended, delete {directory / LOCK}."
    return ConfigError(
        f"run directory {directory}", required="one that nothing works in", found=f"{who} working in it", hint=hint
    )


def _is_part(path: Path) -> bool:
    """A file that was being written when its process was killed, by this version or an earlier one."""
    own = any(path.name.startswith(f".{name}.") for name in _OWN)
    return own and (path.name.endswith(SUFFIX) or path.name.startswith(f".{CHECKPOINT}.")) and not path.is_dir()


def _remove_parts(directory: Path) -> None:
    for path in list(directory.iterdir()):
        if _is_part(path):
            path.unlink(missing_ok=True)


def _foreign(directory: Path) -> list[Path]:
    own = {*_OWN, LOCK}
    return sorted(p for p in directory.iterdir() if (p.name not in own or p.is_dir()) and not _is_part(p))
