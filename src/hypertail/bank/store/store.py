"""The directory of a bank: immutable files, numbered generations, and one pointer that is replaced in one step."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import Tensor

from hypertail.bank.store.change import PART, Change
from hypertail.bank.store.lock import exclusive
from hypertail.bank.store.manifest import FORMAT, VERSION, Entry, FileRef, Manifest, digest_of, manifest_of
from hypertail.errors import CheckpointError, ConfigError
from hypertail.storage.atomic import write_text
from hypertail.storage.checkpoint import load_checkpoint
from hypertail.storage.jsonfile import JsonError, parse_json

POINTER, GENERATIONS, FILES, LOCK = "bank.json", "generations", "files", "lock"
KEPT = 50
"""Generations whose manifests are kept."""
NUMBER = re.compile(r"(\d{6,})\.json")


class Store:
    """A bank on disk. Made by `create` and `open`.

    `bank.json` names the current generation and the digest of its manifest, and replacing it is the single point of
    commit: a reader, or a process that was killed, finds the old generation or the new one. Readers take no lock.

    Attributes:
        path: of the directory.
        manifest: of the generation that is open.
        digest: of that manifest.
        notices: what a reader should know, a sentence each.
    """

    def __init__(self, path: Path, manifest: Manifest, digest: str, notices: list[str]) -> None:
        self.path, self.manifest, self.digest, self.notices = path, manifest, digest, notices

    @classmethod
    def create(cls, path: Path, facts: dict[str, Any]) -> Store:
        """A new bank without tasks.

        Raises:
            ConfigError: something is there already.
            OSError: it cannot be written.
        """
        path = Path(path).expanduser()
        if path.exists() and not _is_unfinished(path):
            raise ConfigError(
                f"directory of a new bank '{path}'",
                required="a path where nothing is yet, or an empty directory",
                found="a bank" if (path / POINTER).is_file() else "other files",
                hint="Open the bank that is there (Bank.open), or give another path.",
            )
        for folder in (path / GENERATIONS, path / FILES):
            folder.mkdir(parents=True, exist_ok=True)
        store = cls(path, Manifest(0, facts, {}, (), 0, (Entry(0, now(), "create", None, {}),)), "", [])
        with exclusive(path / LOCK, 0.0):
            store.write(store.manifest)
        return store

    @classmethod
    def open(cls, path: Path) -> Store:
        """A bank that is there, at its current generation.

        Where the manifest of that one is damaged, the last whole one is opened, and a notice says so.

        Raises:
            ConfigError: no bank is there.
            CheckpointError: no generation is whole, or the bank is of a newer version.
        """
        path = Path(path).expanduser()
        if not (path / POINTER).is_file():
            raise ConfigError(
                f"no bank at '{path}'",
                required="a directory made by Bank.create",
                found="another directory" if path.is_dir() else "a file" if path.exists() else "nothing there",
                hint="Check the path; hypertail learn FOLDER --bank BANK makes a new one.",
            )
        for place in (path / POINTER, path / GENERATIONS, path / FILES):
            if place.is_symlink():
                raise CheckpointError(
                    f"bank '{path}'",
                    required="files and folders of its own",
                    found=f"a link, {place.name}",
                    hint="Copy what the link leads to in its place.",
                )
        store = cls(path, Manifest(0, {}, {}, (), 0, ()), "", [])
        store.refresh()
        return store

    def refresh(self) -> None:
        """Look at the current generation, which another process may have written.

        Raises:
            CheckpointError: no generation is whole, or the bank is of a newer version.
        """
        try:
            number, digest = self.pointer()
            self.manifest, self.digest = self.read(number, digest), digest
        except _DamagedError as error:
            self._fall_back(error)

    def _fall_back(self, error: CheckpointError) -> None:
        for number in reversed(self.generations()):
            with contextlib.suppress(_DamagedError):
                manifest = self.read(number, None)
                if all((self.path / name).is_file() for name in manifest.files()):
                    self.manifest, self.digest = manifest, digest_of(manifest.to_text().encode())
                    self.notices.append(f"{error.problem} is damaged; generation {number} was opened instead")
                    return
        raise error

    def pointer(self) -> tuple[int, str]:
        """Number of the current generation, and the digest of its manifest.

        Raises:
            CheckpointError: the pointer is damaged, or the bank is of a newer version.
        """
        place = self.path / POINTER
        try:
            value = parse_json(place.read_text(encoding="utf-8"))
            if not isinstance(value, dict) or value.get("format") != FORMAT:
                raise _damaged(str(place), f"no format {FORMAT}")
            if not isinstance(value.get("version"), int):
                raise _damaged(str(place), "no version")
            if value["version"] > VERSION:
                raise CheckpointError(
                    f"bank '{self.path}' is too new",
                    required=f"version {VERSION} or older",
                    found=str(value.get("version")),
                    hint="Upgrade hypertail: pip install -U hypertail.",
                )
            return int(value["generation"]), str(value["manifest"])
        except (JsonError, KeyError, TypeError, ValueError, OSError) as error:
            raise _damaged(str(place), str(error)) from error

    def place_of(self, generation: int) -> Path:
        """Of the manifest of a generation."""
        return self.path / GENERATIONS / f"{generation:06d}.json"

    def read(self, generation: int, digest: str | None) -> Manifest:
        """The manifest of a generation, checked by its digest where that is known.

        Raises:
            CheckpointError: it is missing or damaged.
        """
        place = self.place_of(generation)
        try:
            content = place.read_bytes()
        except OSError as error:
            raise _damaged(str(place), error.strerror or str(error)) from error
        sealed, _, text = content.partition(b"\n")
        found = digest_of(text)
        if sealed.decode(errors="replace") != found or (digest is not None and digest != found):
            raise _damaged(str(place), "other bytes than were written, by their digest")
        try:
            manifest = manifest_of(text.decode(), str(place))
        except UnicodeDecodeError as error:
            raise _damaged(str(place), str(error)) from error
        if manifest.generation != generation:
            raise _damaged(str(place), f"generation {manifest.generation}")
        return manifest

    def write(self, manifest: Manifest) -> None:
        """Make a generation the current one; to be called under the lock."""
        text = manifest.to_text()
        digest = digest_of(text.encode())
        write_text(self.place_of(manifest.generation), f"{digest}\n{text}")
        pointer = {"format": FORMAT, "version": VERSION, "generation": manifest.generation, "manifest": digest}
        write_text(self.path / POINTER, json.dumps(pointer))
        self.manifest, self.digest = manifest, digest

    def load(self, ref: FileRef) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and facts of a file, whose every byte is checked.

        Raises:
            CheckpointError: it is missing or damaged.
        """
        place = self.path / ref.name
        try:
            content = b"" if place.is_symlink() else place.read_bytes()
        except OSError as error:
            raise _damaged(str(place), error.strerror or str(error)) from error
        if digest_of(content) != ref.digest:
            raise _damaged(str(place), "other bytes than were written, by their digest")
        return load_checkpoint(place)

    def generations(self) -> list[int]:
        """Numbers of the generations whose manifests are there, oldest first."""
        names = (child.name for child in (self.path / GENERATIONS).iterdir())
        return sorted(int(found[1]) for name in names if (found := NUMBER.fullmatch(name)))

    def history(self) -> list[Entry]:
        """The log, oldest first."""
        return list(self.manifest.log)

    @contextlib.contextmanager
    def change(self, wait: float = 10.0) -> Iterator[Change]:
        """Hold the bank for one change: what is put in the block counts once `Change.commit` was called.

        Without it, the bank stays as it was and what was put is deleted.

        Args:
            wait: seconds to wait for another writer.

        Raises:
            ConfigError: another process changes the bank; its id is named.
        """
        with exclusive(self.path / LOCK, wait):
            self.refresh()
            change = Change(self)
            change.clear_leftovers()
            try:
                yield change
            finally:
                change.close()

    def rollback(self, generation: int) -> Manifest:
        """Make a new generation that is like an earlier one; the log goes on.

        Raises:
            ConfigError: it is not kept, or needs files that were erased.
        """
        with self.change() as change:
            if generation not in self.generations():
                kept = self.generations()
                raise ConfigError(
                    f"generation {generation} of the bank",
                    required=f"one that is kept: {kept[0]} to {kept[-1]}",
                    found=str(generation),
                    hint="hypertail log --bank BANK lists them.",
                )
            old = self.read(generation, None)
            gone = [task.name for task in old.tasks if task.file.name in self.manifest.erased]
            if gone:
                raise ConfigError(
                    f"generation {generation} of the bank",
                    required="a generation whose tasks are all there",
                    found=f"one with {', '.join(gone)}, forgotten since",
                    hint="What was forgotten is gone for good; choose a later generation.",
                )
            return change.commit(
                "rollback", entry_facts={"to": generation}, tasks=old.tasks, shared=old.shared, facts=old.facts
            )


def _is_unfinished(path: Path) -> bool:
    """Whether a directory holds no more than a process leaves that was killed while it made a bank there."""
    first = f"{0:06d}.json"
    if not path.is_dir() or (path / POINTER).exists():
        return False
    for child in path.iterdir():
        if child.name in (GENERATIONS, FILES) and child.is_dir() and not child.is_symlink():
            known = (first,) if child.name == GENERATIONS else ()
            if not all(part.name in known or PART.fullmatch(part.name) for part in child.iterdir()):
                return False
        elif child.name != LOCK and not PART.fullmatch(child.name):
            return False
    return True


class _DamagedError(CheckpointError):
    """A manifest that is missing or damaged: another generation may be whole."""


def _damaged(place: str, found: str) -> CheckpointError:
    return _DamagedError(
        f"file {place} of the bank",
        required="the bytes that were written",
        found=found,
        hint="hypertail verify --bank BANK says what still works; hypertail rollback goes to an earlier generation.",
    )


def now() -> str:
    """Date and time, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
