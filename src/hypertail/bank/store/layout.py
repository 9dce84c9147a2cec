"""Names in the directory of a bank, and what may be there before one is made."""

from __future__ import annotations

import re
from pathlib import Path

from hypertail.bank.store.manifest import BACKBONE, digest_of
from hypertail.errors import ConfigError
from hypertail.storage.atomic import SUFFIX

POINTER, GENERATIONS, FILES, LOCK = "bank.json", "generations", "files", "lock"
KEPT = 50
"""Generations whose manifests are kept."""
NUMBER = re.compile(r"(\d{6,18})\.json")
"""Names of manifests."""
PART = re.compile(r"\..+\.[0-9a-f]{8}" + re.escape(SUFFIX))
"""Files that a killed process left half written (`storage.atomic`)."""
OF_TASK = re.compile(r"task-(\d{1,18})-[0-9a-f]{12}\.safetensors")
OF_BACKBONE = re.compile(rf"{BACKBONE}-[0-9a-f]{{12}}\.safetensors")


def tasks_on_disk(path: Path) -> dict[str, int]:
    """The files of tasks that are there, whichever generation has them: name -> id of the task.

    Args:
        path: of the bank.
    """
    names = (child.name for child in (path / FILES).iterdir())
    return {f"{FILES}/{name}": int(found[1]) for name in names if (found := OF_TASK.fullmatch(name))}


def holds_bank(path: Path) -> bool:
    """Whether there is a bank: `bank.json` or, where that is lost, a generation that a bank has after its first.

    The first one alone is what a process leaves that was killed while it made a bank.

    Args:
        path: of the bank.
    """
    if (path / POINTER).is_file():
        return True
    if not (path / GENERATIONS).is_dir():
        return False
    children = (path / GENERATIONS).iterdir()
    later = (child for child in children if (found := NUMBER.fullmatch(child.name)) and int(found[1]) > 0)
    return any(_is_whole(child) for child in later)


def _is_whole(place: Path) -> bool:
    """Whether a manifest is as it was written."""
    try:
        seal, _, text = place.read_bytes().partition(b"\n")
    except OSError:
        return False
    return seal == digest_of(text).encode()


def check_free(path: Path) -> None:
    """Refuse a directory for a new bank.

    Raises:
        ConfigError: there is a bank in it, or something else.
    """
    if path.exists() and not _is_unfinished(path):
        raise ConfigError(
            f"directory of a new bank '{path}'",
            required="a path where nothing is yet, or an empty directory",
            found="a bank" if holds_bank(path) else "other files",
            hint="Open the bank that is there (Bank.open), or give another path.",
        )


def _is_unfinished(path: Path) -> bool:
    """Whether a directory holds no more than a process leaves that was killed while it made a bank there."""
    if not path.is_dir() or (path / POINTER).exists():
        return False
    for child in path.iterdir():
        if child.is_symlink():
            return False
        if child.name in (GENERATIONS, FILES) and child.is_dir():
            for part in child.iterdir():
                first = part.name == f"{0:06d}.json" if child.name == GENERATIONS else OF_BACKBONE.fullmatch(part.name)
                if part.is_symlink() or not (first or PART.fullmatch(part.name)):
                    return False
        elif child.name != LOCK and not PART.fullmatch(child.name):
            return False
    return True
