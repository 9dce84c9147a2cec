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
from hypertail.storage.atomic import SUFFIX, move, sync_folder
from hypertail.storage.checkpoint import cannot_write, save_checkpoint

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
        self._made: int | None = None  # the generation that is being written

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
            try:
                move(place, target)  # its name is on the disk before a manifest needs it
            except OSError as error:
                raise cannot_write(target, error) from error
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

        Raises:
            CheckpointError: the generation is made, and a file that it erases cannot be deleted.
            OSError: it cannot be written.
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
        self._made = number
        self.store.write(manifest)
        self._made = None
        self._put.clear()
        try:
            if gone:
                self.check_erased()
        finally:
            self._prune()
        return manifest

    def check_erased(self) -> None:
        """Delete what was erased and is there still.

        Raises:
            CheckpointError: a file cannot be deleted; it is named.
        """
        left = self._delete_erased()
        if left:
            raise CheckpointError(
                f"files of what was forgotten in bank '{self.store.path}'",
                required="leave to delete them",
                found="; ".join(f"{name} still there ({why})" for name, why in sorted(left.items())),
                hint=f"Generation {self.manifest.generation} is committed and has none of them. Once the files can be "
                "deleted (not open elsewhere, folder not write-protected), give the same hypertail forget again.",
            )

    def _delete_erased(self) -> dict[str, str]:
        """Delete what was erased and is there still: name -> why not, of each file that cannot be deleted."""
        left = {}
        present = self.store.undeleted()
        for name in present:
            try:
                (self.store.path / name).unlink(missing_ok=True)
            except OSError as error:
                left[name] = error.strerror or str(error)
        if present:
            sync_folder(self.store.path / "files")
        return {name: left.get(name, "open elsewhere") for name in self.store.undeleted()}

    def close(self) -> None:
        """Delete what was put and not committed."""
        try:
            # an error may have come after the commit: the pointer says whether it counts
            if self._made is not None and self.store.pointer()[0] != self._made:
                self._delete(self.store.place_of(self._made))
                sync_folder(self.store.path / "generations")
            if self._put or self._made is not None:
                self.store.refresh()
        except (CheckpointError, OSError):
            return  # what is left is cleared at the next change
        if self.store.passed_over is not None:
            return  # the generation that cannot be read may be the one that was committed
        kept = self.store.manifest.files()
        for place in self._put:
            if f"files/{place.name}" not in kept:
                self._delete(place)
        self._put.clear()

    def clear_leftovers(self) -> None:
        """Delete what killed processes left: half-written files, and files that no generation has.

        Only names that a bank gives are touched, and no manifest is: a generation above the one that bank.json names is
        whole, and opened (`opening`), or damaged, and may be mended.
        """
        root = self.store.path
        for folder in (root, root / "files", root / "generations"):
            for child in folder.iterdir():
                if PART.fullmatch(child.name) and not child.is_dir():
                    self._delete(child)
        self._delete_erased()
        self._delete_unused()

    def _prune(self) -> None:
        numbers = self.store.generations()
        for number in numbers[:-KEPT]:
            self._delete(self.store.place_of(number))
        if len(numbers) > KEPT:
            sync_folder(self.store.path / "generations")  # before the files that they name go
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
