"""A generation of a bank: which files it is made of, and what was done so far."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from hypertail.errors import CheckpointError
from hypertail.storage.jsonfile import JsonError, parse_json

FORMAT, VERSION = "hypertail-bank", 1

FILE_NAME = re.compile(r"files/[a-z0-9][a-z0-9-]*-[0-9a-f]{12}\.safetensors")
"""Names of files that a bank writes; no other is read or deleted."""

BACKBONE = "backbone"
"""Name of the shared file that holds the model, where a bank keeps it, and of what the facts say of it."""


@dataclass(frozen=True)
class FileRef:
    """A file of a bank, which never changes.

    Attributes:
        name: its path inside the bank, `files/NAME-DIGEST.safetensors`.
        digest: of all its bytes (BLAKE2b of 128 bits).
        nbytes: its size.
    """

    name: str
    digest: str
    nbytes: int


@dataclass(frozen=True)
class TaskRef:
    """A task of a generation.

    Attributes:
        id: never given to another task of the bank.
        name: as the user calls it.
        file: all that belongs to it.
    """

    id: int
    name: str
    file: FileRef


@dataclass(frozen=True)
class Entry:
    """A line of the log.

    Attributes:
        generation: that the change made.
        when: ISO date and time, UTC.
        event: `create`, `learn`, `extend`, `rename`, `forget`, `rollback`, `consolidate` or `backbone`.
        task: the name of the task, or None.
        facts: what else was written down.
    """

    generation: int
    when: str
    event: str
    task: str | None
    facts: dict[str, Any]


@dataclass(frozen=True)
class Manifest:
    """One generation.

    Attributes:
        generation: its number.
        facts: of the bank: its model and how it is cut.
        shared: name -> file that tasks share.
        tasks: in the order in which they were learned.
        next_id: of the next task.
        log: all that was done, oldest first.
        erased: names of files that were deleted for good.
    """

    generation: int
    facts: dict[str, Any]
    shared: dict[str, FileRef]
    tasks: tuple[TaskRef, ...]
    next_id: int
    log: tuple[Entry, ...]
    erased: tuple[str, ...] = ()

    def files(self) -> dict[str, FileRef]:
        """Every file it is made of, by name."""
        return {ref.name: ref for ref in (*self.shared.values(), *(task.file for task in self.tasks))}

    @cached_property
    def last_told(self) -> dict[int, Entry]:
        """Id of a task -> the last entry in effect that has the digest of its file."""
        told = (entry for entry in in_effect(self.log) if "id" in entry.facts and "digest" in entry.facts)
        return {entry.facts["id"]: entry for entry in told}

    def to_text(self) -> str:
        """As it is written."""
        return json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, allow_nan=False, indent=0)


def in_effect(log: Sequence[Entry]) -> list[Entry]:
    """The changes that made what is there, oldest first: without those that a rollback undid, and without rollbacks.

    Args:
        log: of a manifest. Where a rollback does not say to which generation, nothing is known to be in effect.
    """
    found: list[Entry] = []
    last = log[-1].generation if log else 0
    for entry in reversed(log):
        if entry.generation > last:
            continue
        if entry.event != "rollback":
            found.append(entry)
        elif isinstance(entry.facts.get("to"), int):
            last = entry.facts["to"]
        else:
            return []
    return found[::-1]


def digest_of(content: bytes) -> str:
    """BLAKE2b of 128 bits, in hexadecimal."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def manifest_of(text: str, place: str) -> Manifest:
    """What `Manifest.to_text` gave.

    Args:
        text: of the file.
        place: of it, for errors.

    Raises:
        CheckpointError: it is damaged, foreign, or of a newer version.
    """
    try:
        value = parse_json(text)
        _check_version(value, place)
        return Manifest(
            int(value["generation"]),
            dict(value["facts"]),
            {str(name): _file(ref) for name, ref in value["shared"].items()},
            tuple(TaskRef(int(task["id"]), str(task["name"]), _file(task["file"])) for task in value["tasks"]),
            int(value["next_id"]),
            tuple(_entry(entry) for entry in value["log"]),
            tuple(_file_name(name) for name in value.get("erased", ())),
        )
    except (JsonError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"manifest {place}",
            required="a manifest of a bank",
            found=f"{type(error).__name__}: {error}",
            hint="The file is damaged: an earlier generation may be whole (hypertail verify --bank BANK).",
        ) from error


def _check_version(value: Mapping[str, Any], place: str) -> None:
    if value.get("format") != FORMAT or not isinstance(value.get("version"), int):
        raise ValueError(f"no format {FORMAT} in it")
    if value["version"] > VERSION:
        raise CheckpointError(
            f"bank {place} is too new",
            required=f"version {VERSION} or older",
            found=str(value["version"]),
            hint="Upgrade hypertail: pip install -U hypertail.",
        )


def _file(value: Mapping[str, Any]) -> FileRef:
    return FileRef(_file_name(value["name"]), str(value["digest"]), int(value["nbytes"]))


def _file_name(value: object) -> str:
    name = str(value)
    if FILE_NAME.fullmatch(name) is None:
        raise ValueError(f"a file name that no bank gives, {name[:80]!r}")
    return name


def _entry(value: Mapping[str, Any]) -> Entry:
    task = value["task"]
    return Entry(
        int(value["generation"]),
        str(value["when"]),
        str(value["event"]),
        None if task is None else str(task),
        dict(value["facts"]),
    )
