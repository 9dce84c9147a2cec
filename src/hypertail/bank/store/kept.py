"""The generations that are kept: which a rollback reaches, and which tasks only they have."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypertail.bank.store.layout import FILES, tasks_on_disk
from hypertail.bank.store.manifest import BACKBONE, FileRef, Manifest
from hypertail.bank.store.reading import DamagedError

if TYPE_CHECKING:
    from hypertail.bank.store.store import Store


@dataclass(frozen=True)
class Kept:
    """All generations of a bank whose manifests can be read.

    Attributes:
        store: of the bank.
        manifests: oldest first; the current one is among them.
        whole: whether none between the oldest and the newest is lost or damaged.
    """

    store: Store
    manifests: tuple[Manifest, ...]
    whole: bool

    @classmethod
    def of(cls, store: Store) -> Kept:
        """Those of a bank.

        Raises:
            CheckpointError: a manifest is there and cannot be read just now, or none that this version writes.
        """
        current, passed_over = store.manifest, store.passed_over
        newest = current.generation if passed_over is None else passed_over
        # a later one is being made by another process
        numbers = [number for number in store.generations() if number <= newest]
        whole = passed_over is None and numbers[-1:] == [newest] and newest - numbers[0] < len(numbers)
        found = []
        for number in numbers:
            try:
                found.append(current if number == current.generation else store.read(number, None))
            except DamagedError:
                whole = False
        return cls(store, tuple(found), whole)

    def absent(self) -> dict[int, tuple[str, ...]]:
        """The tasks with a file on disk that the current generation does not have: id -> names they had, last one last.

        A task that only a damaged generation names is not among them.
        """
        current = self.store.manifest
        there = {f"{FILES}/{child.name}" for child in (self.store.path / FILES).iterdir()} - {*current.erased}
        on_disk = {number for name, number in tasks_on_disk(self.store.path).items() if name in there}
        names: dict[int, dict[str, None]] = {}
        for entry in current.log:
            number = entry.facts.get("id")
            if isinstance(number, int) and entry.task is not None and entry.event != "forget":
                names.setdefault(number, {})[entry.task] = None
        for manifest in self.manifests:
            for task in manifest.tasks:
                names.setdefault(task.id, {}).setdefault(task.name)
                on_disk |= {task.id} if task.file.name in there else set()
        on_disk -= {task.id for task in current.tasks}
        return {number: tuple(names[number]) for number in sorted(on_disk) if number in names}

    def called(self, name: str) -> tuple[int, ...]:
        """The ids of all tasks of a name: the current one, and those that the current generation does not have.

        The latter under any name that they had; a task of the current generation has only its present one.
        """
        here = [task.id for task in self.store.manifest.tasks if task.name == name]
        return (*here, *(number for number, names in self.absent().items() if name in names))

    def reached(self, gone: Collection[str] = ()) -> list[Manifest]:
        """The generations that can still be rolled back to once files of tasks are gone.

        Args:
            gone: names of files, beside those that were erased before.
        """
        lost = {*self.store.manifest.erased, *gone}
        return [each for each in self.manifests if not any(task.file.name in lost for task in each.tasks)]

    def out_of_reach(self, current: Collection[str], gone: Collection[str]) -> list[FileRef]:
        """The files that only generations have which cannot be rolled back to any more.

        None at all while a manifest is lost or damaged: mended, it may be one that can.

        Args:
            current: names of the files that the next generation has.
            gone: names of files that are to be erased.
        """
        if not self.whole:
            return []
        reached = self.reached(gone)
        models = [each.facts.get(BACKBONE, {}).get("digest") for each in reached]
        needed = {*current, *gone, *self.store.manifest.erased, *(name for each in reached for name in each.files())}
        found: dict[str, FileRef] = {}
        for manifest in self.manifests:
            if BACKBONE in manifest.shared and manifest.facts.get(BACKBONE, {}).get("digest") in models:
                # one that can be rolled back to may not name the file of its model (`Store.rollback`)
                needed.add(manifest.shared[BACKBONE].name)
            found |= manifest.files()
        return [ref for name, ref in found.items() if name not in needed]
