"""The directory of a bank: immutable files, numbered generations, and one pointer that is replaced in one step."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import Tensor

from hypertail.bank.store.change import Change
from hypertail.bank.store.layout import FILES, GENERATIONS, LOCK, NUMBER, POINTER, check_free, holds_bank
from hypertail.bank.store.lock import exclusive
from hypertail.bank.store.manifest import BACKBONE, FORMAT, VERSION, Entry, FileRef, Manifest, digest_of, manifest_of
from hypertail.bank.store.opening import opened
from hypertail.bank.store.reading import DamagedError, check_no_link, content_of, damaged
from hypertail.errors import CheckpointError, ConfigError
from hypertail.storage.atomic import make_folder, write_text
from hypertail.storage.checkpoint import load_checkpoint
from hypertail.storage.jsonfile import JsonError, parse_json


class Store:
    """A bank on disk. Made by `create` and `open`.

    `bank.json` names the current generation and the digest of its manifest, and replacing it is the single point of
    commit: a reader, or a process that was killed, finds the old generation or the new one. Readers take no lock.

    Attributes:
        path: of the directory.
        manifest: of the generation that is open.
        digest: of that manifest.
        notices: what a reader should know, a sentence each.
        passed_over: None, or where an earlier generation was opened in the place of a damaged one, the highest number
            that a damaged one may have. They stay as they are, for whoever can mend them.
        late: whether `bank.json` names an earlier generation than the one that is open.
    """

    passed_over: int | None = None
    late = False
    _alone = False  # whether it holds the lock

    def __init__(self, path: Path, manifest: Manifest, digest: str, notices: list[str]) -> None:
        self.path, self.manifest, self.digest, self.notices = path, manifest, digest, notices

    @classmethod
    def create(
        cls, path: Path, facts: dict[str, Any], shared: Mapping[str, Mapping[str, Tensor]] | None = None
    ) -> Store:
        """A new bank without tasks.

        Args:
            path: of its directory.
            facts: of the bank.
            shared: name -> tensors of each file that it begins with.

        Raises:
            ConfigError: something is there already.
            CheckpointError: a file cannot be written.
            OSError: the directory cannot be written.
        """
        path = Path(path).expanduser()
        check_free(path)
        for folder in (path / GENERATIONS, path / FILES):
            make_folder(folder)
        store = cls(path, Manifest(0, facts, {}, (), 0, (Entry(0, now(), "create", None, {}),)), "", [])
        with exclusive(path / LOCK, 0.0):
            check_free(path)  # another process may have been faster
            change = Change(store)
            refs = {name: change.put(name, tensors, {}) for name, tensors in (shared or {}).items()}
            store.write(replace(store.manifest, shared=refs))
        return store

    @classmethod
    def open(cls, path: Path) -> Store:
        """A bank that is there, at its current generation.

        Where its manifest or `bank.json` is damaged or missing, or whole generations lie above it, the newest whole one
        is opened, and a notice says so.

        Raises:
            ConfigError: no bank is there.
            CheckpointError: no generation is whole, or the bank is of a newer version.
        """
        path = Path(path).expanduser()
        if not holds_bank(path):
            raise ConfigError(
                f"no bank at '{path}'",
                required="a directory made by Bank.create",
                found="another directory" if path.is_dir() else "a file" if path.exists() else "nothing there",
                hint="Check the path; hypertail learn FOLDER --bank BANK makes a new one.",
            )
        for name in (POINTER, GENERATIONS, FILES, LOCK):
            check_no_link(path / name)
        store = cls(path, Manifest(0, {}, {}, (), 0, ()), "", [])
        store.refresh()
        return store

    def refresh(self) -> None:
        """Look at the current generation, which another process may have written.

        Raises:
            CheckpointError: no generation is whole, one cannot be read just now, or the bank is of a newer version.
        """
        found = opened(self, alone=self._alone)
        self.manifest, self.digest, self.passed_over = found.manifest, found.digest, found.passed_over
        self.late = found.late
        self.notices += [notice for notice in found.notices if notice not in self.notices]

    @property
    def next_number(self) -> int:
        """Of the next generation."""
        return 1 + (self.manifest.generation if self.passed_over is None else self.passed_over)

    def pointer(self) -> tuple[int, str]:
        """Number of the current generation, and the digest of its manifest.

        Raises:
            CheckpointError: the pointer is damaged or cannot be read, or the bank is of a newer version.
        """
        place = self.path / POINTER
        try:
            value = parse_json(content_of(place).decode())
            if not isinstance(value, dict) or value.get("format") != FORMAT:
                raise damaged(place, f"no format {FORMAT}")
            if not isinstance(value.get("version"), int):
                raise damaged(place, "no version")
            if value["version"] > VERSION:
                raise CheckpointError(
                    f"bank '{self.path}' is too new",
                    required=f"version {VERSION} or older",
                    found=str(value.get("version")),
                    hint="Upgrade hypertail: pip install -U hypertail.",
                )
            return int(value["generation"]), str(value["manifest"])
        except (JsonError, KeyError, TypeError, ValueError) as error:
            raise damaged(place, str(error)) from error

    def place_of(self, generation: int) -> Path:
        """Of the manifest of a generation."""
        return self.path / GENERATIONS / f"{generation:06d}.json"

    def read(self, generation: int, digest: str | None) -> Manifest:
        """The manifest of a generation, checked by its digest where that is known.

        Raises:
            CheckpointError: it is missing, damaged or cannot be read.
        """
        place = self.place_of(generation)
        sealed, _, text = content_of(place).partition(b"\n")
        found = digest_of(text)
        if sealed.decode(errors="replace") != found or (digest is not None and digest != found):
            raise damaged(place, "other bytes than were written, by their digest")
        try:
            manifest = manifest_of(text.decode(), str(place))
        except UnicodeDecodeError as error:
            raise damaged(place, str(error)) from error
        if manifest.generation != generation:
            raise damaged(place, f"generation {manifest.generation}")
        return manifest

    def digest_on_disk(self, generation: int) -> str:
        """Of the manifest of a generation, as its first line says it.

        Raises:
            CheckpointError: it is missing or cannot be read.
        """
        return content_of(self.place_of(generation)).partition(b"\n")[0].decode(errors="replace")

    def write(self, manifest: Manifest) -> None:
        """Make a generation the current one; to be called under the lock."""
        text = manifest.to_text()
        digest = digest_of(text.encode())
        write_text(self.place_of(manifest.generation), f"{digest}\n{text}")
        self._point_to(manifest.generation, digest)
        self.manifest, self.digest, self.passed_over = manifest, digest, None

    def _point_to(self, generation: int, digest: str) -> None:
        pointer = {"format": FORMAT, "version": VERSION, "generation": generation, "manifest": digest}
        write_text(self.path / POINTER, json.dumps(pointer))
        self.late = False

    def load(self, ref: FileRef) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and facts of a file, whose every byte is checked.

        Raises:
            CheckpointError: it is missing, damaged or cannot be read.
        """
        place = self.path / ref.name
        try:
            content = content_of(place)
        except DamagedError as error:
            moved_on = self._moved_on(ref.name)
            if moved_on is None:
                raise
            raise moved_on from error
        if digest_of(content) != ref.digest:
            raise damaged(place, "other bytes than were written, by their digest")
        return load_checkpoint(place)

    def _moved_on(self, name: str) -> CheckpointError | None:
        """The error for a file that is missing because another process has changed the bank."""
        with contextlib.suppress(CheckpointError):
            number, digest = self.pointer()
            if number > self.manifest.generation and name not in self.read(number, digest).files():
                return CheckpointError(
                    f"bank '{self.path}' has changed meanwhile",
                    required=f"the files of generation {self.manifest.generation}, which is open here",
                    found=f"generation {number}, and no {name} any more",
                    hint="Look at the last generation: bank.refresh(), or open the bank again.",
                )
        return None

    def generations(self) -> list[int]:
        """Numbers of the generations whose manifests are there, oldest first."""
        folder = self.path / GENERATIONS
        if not folder.is_dir():
            return []
        names = (child.name for child in folder.iterdir())
        return sorted(int(found[1]) for name in names if (found := NUMBER.fullmatch(name)))

    def undeleted(self) -> tuple[str, ...]:
        """Names of files that were deleted for good, and are there still."""
        there = {f"{FILES}/{child.name}" for child in (self.path / FILES).iterdir()}
        needed = self.manifest.files()
        return tuple(name for name in self.manifest.erased if name in there and name not in needed)

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
            self._alone = True
            change = Change(self)
            try:
                self.refresh()
                if self.late:
                    self._point_to(self.manifest.generation, self.digest)
                change.clear_leftovers()
                yield change
            finally:
                change.close()
                self._alone = False

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
            self._check_there(old)
            shared = {**self._kept_backbone(old), **old.shared}
            to = {"to": generation}
            # a generation that was damaged, and mended, has entries of its own
            return change.commit(
                "rollback", entry_facts=to, tasks=old.tasks, shared=shared, facts=old.facts, log=old.log
            )

    def _check_there(self, old: Manifest) -> None:
        """Refuse to go back to a generation of which files were deleted for good."""
        erased = {*self.manifest.erased}
        if erased.isdisjoint(old.files()):
            return
        entries = [entry.facts for entry in self.manifest.log if entry.event == "forget"]
        forgotten = {number for facts in entries for number in (facts.get("id"), *facts.get("also", ()))}
        gone = [task for task in old.tasks if task.file.name in erased]
        named = [task.name for task in gone if task.id in forgotten] or [task.name for task in gone]
        raise ConfigError(
            f"generation {old.generation} of the bank",
            required="a generation whose tasks are all there",
            found=f"one with {', '.join(named) or 'what tasks shared'}, forgotten since",
            hint="What was forgotten is gone for good; choose a later generation.",
        )

    def _kept_backbone(self, old: Manifest) -> dict[str, FileRef]:
        """The file of the model of a generation that was made before that file was, and could not be opened."""
        said = old.facts.get(BACKBONE, {})
        if said.get("stored") and BACKBONE not in old.shared:
            for number in reversed(self.generations()):
                with contextlib.suppress(CheckpointError):
                    other = self.read(number, None)
                    same = other.facts.get(BACKBONE, {}).get("digest") == said["digest"]
                    if same and BACKBONE in other.shared:
                        return {BACKBONE: other.shared[BACKBONE]}
        return {}


def now() -> str:
    """Date and time, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
