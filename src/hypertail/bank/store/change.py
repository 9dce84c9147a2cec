"""One change of a bank: files that are put, and the generation that makes them count."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from hypertail.bank.store.layout import KEPT, PART
from hypertail.bank.store.manifest import FILE_NAME, Entry, FileRef, Manifest, TaskRef, digest_of
from hypertail.errors import CheckpointError
from hypertail.storage.atomic import SUFFIX
from hypertail.storage.checkpoint import save_checkpoint

if TYPE_CHECKING:
    from hypertail.bank.store.store import Store


class Change:
    """Made by `Store.change`, which holds the lock meanwhile.

    Attributes:
        facts: of the bank, where they are to be others; None to leave them.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.facts: dict[str, Any] | None = None
        self._put: list[Path] = []

    @property
    def manifest(self) -> Manifest:
        """Of the generation that is being changed."""
        return self.store.manifest

    def put(self, name: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> FileRef:
        """Write a file that counts once the change is committed.

        Args:
            name: how its name begins: small letters, digits and hyphens.
            tensors: by name.
            facts: anything JSON can hold.

        Raises:
            CheckpointError: it cannot be written.
        """
        # under a name of its own until its digest is known
        place = self.store.path / "files" / f".{name}.{0:08x}{SUFFIX}"
        try:
            save_checkpoint(place, dict(tensors), dict(facts))
            content = place.read_bytes()
            digest = digest_of(content)
            ref = FileRef(f"files/{name}-{digest[:12]}.safetensors", digest, len(content))
            target = self.store.path / ref.name
            if not target.exists():
                self._put.append(target)
            place.replace(target)
        finally:
            place.unlink(missing_ok=True)
        return ref

    def commit(
        self,
        event: str,
        *,
        task: str | None = None,
        entry_facts: Mapping[str, Any] | None = None,
        tasks: Iterable[TaskRef] | None = None,
        shared: Mapping[str, FileRef] | None = None,
        facts: Mapping[str, Any] | None = None,
        erase: Iterable[FileRef] = (),
        log: Iterable[Entry] = (),
    ) -> Manifest:
        """Make the next generation; what is not given stays.

        Args:
            event: of the log.
            task: whom it is about.
            entry_facts: of the log.
            tasks: all tasks.
            shared: all shared files.
            facts: of the bank.
            erase: files to delete for good, also where an earlier generation has them; none that the next one has.
            log: of another generation; what the current one lacks of it is taken over.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        old = self.manifest
        listed = old.tasks if tasks is None else tuple(tasks)
        said = facts if facts is not None else self.facts if self.facts is not None else old.facts
        shares = dict(old.shared if shared is None else shared)
        used = {ref.name for ref in (*shares.values(), *(each.file for each in listed))}
        gone = [ref.name for ref in erase if ref.name not in used]
        erased = tuple(name for name in old.erased if name not in used)
        number = self.store.next_number
        entry = Entry(number, now, event, task, dict(entry_facts or {}))
        entries = {each.generation: each for each in (*log, *old.log, entry)}
        manifest = Manifest(
            number,
            dict(said),
            shares,
            listed,
            max([old.next_id, *(each.id + 1 for each in listed)]),
            tuple(entries[key] for key in sorted(entries)),
            (*erased, *(name for name in gone if name not in erased)),
        )
        self.store.write(manifest)
        self._put.clear()
        for name in gone:
            (self.store.path / name).unlink(missing_ok=True)
        self._prune()
        return manifest

    def close(self) -> None:
        """Delete what was put and not committed."""
        if not self._put:
            return
        try:
            # an error may have come after the commit: the pointer says whether it counts
            self.store.refresh()
        except (CheckpointError, OSError):
            return  # what is left is cleared at the next change
        if self.store.passed_over is not None:
            return  # the generation that cannot be read may be the one that was committed
        self._delete_later()
        kept = self.store.manifest.files()
        for place in self._put:
            if f"files/{place.name}" not in kept:
                self._delete(place)
        self._put.clear()

    def clear_leftovers(self) -> None:
        """Delete what killed processes left: half-written files, and files of generations that never came to be.

        Only names that a bank gives are touched.
        """
        root = self.store.path
        for folder in (root, root / "files", root / "generations"):
            for child in folder.iterdir():
                if PART.fullmatch(child.name) and not child.is_dir():
                    self._delete(child)
        self._delete_later()
        for name in set(self.manifest.erased) - set(self.manifest.files()):
            self._delete(root / name)
        self._delete_unused()

    def _delete_later(self) -> None:
        """Delete manifests of generations that never came to be; none that counted and is damaged."""
        if self.store.passed_over is not None:
            return
        for number in self.store.generations():
            if number > self.manifest.generation:
                self._delete(self.store.place_of(number))

    def _prune(self) -> None:
        numbers = self.store.generations()
        for number in numbers[:-KEPT]:
            self._delete(self.store.place_of(number))
        if len(numbers) > KEPT:
            self._delete_unused()

    def _delete_unused(self) -> None:
        """Delete files of ours that no kept generation has; none at all while a manifest is lost or damaged."""
        numbers = self.store.generations()
        if self.store.passed_over is not None or numbers[-1] - numbers[0] >= len(numbers):
            return
        names = (f"files/{child.name}" for child in (self.store.path / "files").iterdir())
        unused = {name for name in names if FILE_NAME.fullmatch(name)} - set(self.manifest.files())
        for number in reversed(numbers):
            if not unused:  # as where tasks were learned and nothing else; manifests are long
                return
            try:
                unused -= set(self.store.read(number, None).files())
            except CheckpointError:
                return
        for name in unused:
            self._delete(self.store.path / name)

    @staticmethod
    def _delete(place: Path) -> None:
        with contextlib.suppress(OSError):
            place.unlink(missing_ok=True)
