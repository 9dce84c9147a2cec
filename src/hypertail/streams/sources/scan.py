"""Image files below a folder, and a count of what else lies there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from hypertail.errors import DataError
from hypertail.streams.names import printable, shown
from hypertail.streams.report import EXAMPLES, LeftOut
from hypertail.streams.sources.formats import suffixes

# What systems and archives put beside people's files.
JUNK = frozenset({"__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "lost+found", "System Volume Information"})


class Tally:
    """Counts files that are not read, by reason; names those of them that come first."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._found: dict[str, list[Path]] = {}

    def add(self, reason: str, *files: Path) -> None:
        """Count `files` under `reason`."""
        self._found.setdefault(reason, []).extend(files)

    def left_out(self) -> tuple[LeftOut, ...]:
        """The counts, by reason, with the first few of the names."""
        found = []
        for reason, files in sorted(self._found.items()):
            if files:
                names = sorted(shown(file.relative_to(self._root)) for file in files)
                found.append(LeftOut(reason, len(files), tuple(names[:EXAMPLES])))
        return tuple(found)


def subfolders(folder: Path) -> list[Path]:
    """The folders in `folder`, in the order of their names, but for hidden ones and `JUNK`.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return sorted(child for child in folder.iterdir() if child.is_dir() and not _skipped(child.name))
    except OSError as cause:
        raise _unreadable(folder, cause) from cause


def is_image_name(name: str) -> bool:
    """A file called `name` is taken for an image."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in suffixes()


def images_below(folder: Path, tally: Tally) -> list[Path]:
    """Image files in `folder` and its sub-folders, in the order of their names; everything else goes to `tally`.

    Links are followed. A link to nothing that is named like an image is given, too, so that reading it fails.

    Raises:
        DataError: a folder cannot be read.
    """
    images = []
    for file in _walk(folder):
        if _hidden(file, folder):
            tally.add("hidden, or of the system", file)
        elif not is_image_name(file.name):
            tally.add(_kind(file.name), file)
        elif file.is_file() or not file.exists():
            images.append(file)
        else:
            tally.add("that are no ordinary files", file)
    return sorted(images)


def loose_files(folder: Path, tally: Tally) -> int:
    """Count the files directly in `folder`, beside its class folders; returns how many of them are images."""
    images = 0
    for file in sorted(child for child in folder.iterdir() if not child.is_dir()):
        if file.name.startswith("."):
            tally.add("hidden, or of the system", file)
        elif is_image_name(file.name):
            tally.add("that are images outside every class folder", file)
            images += 1
        else:
            tally.add(_kind(file.name), file)
    return images


def _kind(name: str) -> str:
    ending = printable(os.path.splitext(name)[1].lower())
    return f"{ending}, which Pillow does not read as an image" if ending else "without a suffix"


def _skipped(name: str) -> bool:
    return name.startswith(".") or name in JUNK


def _hidden(file: Path, folder: Path) -> bool:
    return any(_skipped(part) for part in file.relative_to(folder).parts)


def _walk(folder: Path) -> Iterator[Path]:
    def fail(cause: OSError) -> None:
        raise _unreadable(Path(cause.filename or folder), cause) from cause

    seen: set[str] = set()
    for place, folders, files in os.walk(folder, onerror=fail, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link back up
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not _skipped(name))
        yield from (Path(place, name) for name in files)


def _unreadable(folder: Path, cause: OSError) -> DataError:
    return DataError(
        f"folder '{shown(folder)}'",
        required="a folder that can be read",
        found=cause.strerror or shown(str(cause)),
        hint="Give yourself leave to read it, or take it out.",
    )
