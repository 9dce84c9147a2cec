"""The files of decoded images in the cache folder: which are there, and how to be rid of them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from hypertail.storage import JsonError, parse_json
from hypertail.storage.checkpoint import FORMAT as CHECKPOINT
from hypertail.streams.names import printable
from hypertail.streams.sources.cache import KEY, SUFFIX, cache_folder

MAX_HEADER = 100 << 20
_PART = re.compile(r"\..+\.[0-9a-f]{8}\.part|tmp\w+\.part")  # `storage.atomic`, and what was before it


@dataclass(frozen=True)
class CacheFile:
    """A file of the cache folder that this software wrote.

    Attributes:
        path: of the file.
        what: the dataset, with the number of its images where the file says so.
        nbytes: size.
        when: of its last change, local time.
    """

    path: Path
    what: str
    nbytes: int
    when: datetime


@dataclass(frozen=True)
class CacheListing:
    """What the cache folder holds: `own` files, and the number of `others`, which are never touched."""

    folder: Path
    own: tuple[CacheFile, ...]
    others: int


def list_cache() -> CacheListing:
    """What is in the folder of decoded images, in the order of names; sub-folders are not looked into.

    A file is recognised by its header, not by its name; of a file whose writing was interrupted before its header, the
    name and its being empty.

    Raises:
        OSError: the folder cannot be read.
    """
    folder = cache_folder()
    own, others = [], 0
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        what = None if path.is_symlink() or not path.is_file() else _recognised(path)
        if what is None:
            others += 1
        else:
            status = path.stat()
            own.append(CacheFile(path, what, status.st_size, datetime.fromtimestamp(status.st_mtime)))
    return CacheListing(folder, tuple(own), others)


def clear_cache() -> tuple[CacheFile, ...]:
    """Delete the own files of the cache folder; returns what is gone.

    Raises:
        OSError: a file cannot be deleted.
    """
    own = list_cache().own
    for file in own:
        file.path.unlink(missing_ok=True)
    return own


def _recognised(path: Path) -> str | None:
    """What an own file holds; None for a foreign one."""
    partial = _PART.fullmatch(path.name) is not None
    if not partial and not path.name.endswith(SUFFIX):
        return None
    try:
        note = _note(path)
    except OSError:
        return None
    if note is not None:
        return _described(path, note) + (" (unfinished)" if partial else "")
    return "unfinished" if partial and path.stat().st_size == 0 else None


def _note(path: Path) -> dict[str, Any] | None:
    """The JSON text that `cache` puts into a header; None where there is none. The tensors are not read."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 2 <= size <= MAX_HEADER:
            return None
        text = file.read(size)
    try:
        header = json.loads(text)
        note = _note_in(header["__metadata__"])
    except (JsonError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return note if isinstance(note, dict) and isinstance(note.get("classes"), list) else None


def _note_in(metadata: dict[str, str]) -> Any:
    """Of a checkpoint's facts, or as versions before those wrote it."""
    if metadata.get("format") == CHECKPOINT:
        return parse_json(metadata["facts"])[KEY]
    note = parse_json(metadata["hypertail"])
    return note if isinstance(note["sums"], dict) else None


def _described(path: Path, note: dict[str, Any]) -> str:
    name = printable(str(note.get("name") or path.name.removesuffix(SUFFIX)[:-25]))
    words = f"{name}, {len(note['classes'])} classes"
    report = note.get("report")
    if isinstance(report, dict) and isinstance(report.get("source"), str):
        words += f", from {printable(report['source'])}"
    return words
