"""Which generation of a bank is opened: the one that bank.json names, or the newest whole one where that is not it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hypertail.bank.store.layout import LOCK, POINTER, tasks_on_disk
from hypertail.bank.store.lock import is_held
from hypertail.bank.store.manifest import FILE_NAME, Manifest
from hypertail.bank.store.reading import DamagedError, content_of

if TYPE_CHECKING:
    from hypertail.bank.store.store import Store

ERASED = re.compile(rf'(?<!"name": )"({FILE_NAME.pattern})"')
"""The name of a file that was erased, in the text of a manifest: that of a file which is there follows its key."""


@dataclass(frozen=True)
class Opened:
    """A generation, and how it came to be the one that is opened.

    Attributes:
        manifest: of it, without tasks whose files a damaged later generation had erased.
        digest: of the manifest on disk.
        passed_over: None, or where a later one is damaged, the highest number that a damaged one may have.
        late: whether bank.json is right and names an earlier one.
        notices: what a reader should know, a sentence each.
    """

    manifest: Manifest
    digest: str
    passed_over: int | None = None
    late: bool = False
    notices: tuple[str, ...] = ()


def opened(store: Store, *, alone: bool) -> Opened:
    """The generation to open.

    Whole generations above the one that bank.json names are left by a process that was killed just before they counted,
    or bank.json is an older one that was put back. Both look the same, and in both the highest is as it was to be.

    Args:
        store: of the bank.
        alone: whether this process holds the lock. Where another one does, what bank.json names is what counts.

    Raises:
        CheckpointError: no generation is whole, one cannot be read just now, or the bank is of a newer version.
    """
    while True:
        number, digest = 0, ""
        error: DamagedError | None = None
        try:
            number, digest = store.pointer()
            manifest = store.read(number, digest)
        except DamagedError as caught:
            error = caught
        numbers = store.generations()
        if error is None and (not numbers or numbers[-1] <= number or (not alone and is_held(store.path / LOCK))):
            return Opened(manifest, digest)
        if _named(store) == (number, digest):  # else another process has made a generation meanwhile
            return _newest(store, numbers, number, error)


def _named(store: Store) -> tuple[int, str]:
    with contextlib.suppress(DamagedError):
        return store.pointer()
    return 0, ""


def _newest(store: Store, numbers: list[int], named: int, error: DamagedError | None) -> Opened:
    """The newest generation whose manifest can be read and whose shared files are there."""
    for number in reversed(numbers):
        try:
            manifest = store.read(number, None)
        except DamagedError:
            continue
        right = error is None and number == named
        if right or all((store.path / ref.name).is_file() for ref in manifest.shared.values()):
            break
    else:
        assert error is not None  # else the generation that bank.json names was read
        raise error
    digest = store.digest_on_disk(number)
    passed_over = None if error is None and number == numbers[-1] else max(named, numbers[-1])
    late = error is None and number > named
    notices = []
    if late:
        notices.append(
            f"{POINTER} of bank {store.path} names generation {named}, and generation {number} is whole: "
            f"it was opened. Either {POINTER} is an older one that was put back, or a process was ended as it made "
            f"generation {number}. hypertail rollback {named} goes back."
        )
    if passed_over is not None:
        lost = f"file {store.place_of(numbers[-1])} of the bank" if error is None else error.problem
        missing = error is not None and error.found == os.strerror(errno.ENOENT)
        notices.append(f"{lost} is {'missing' if missing else 'damaged'}; generation {number} was opened instead")
        manifest, gone = _without_erased(store, manifest, (each for each in numbers if each > number))
        if gone:
            notices.append(f"left out, as a later generation had forgotten them: {', '.join(gone)}")
        # an id that a damaged one may have given to a task is not given again
        ids = tasks_on_disk(store.path).values()
        manifest = replace(manifest, next_id=max([manifest.next_id, *(each + 1 for each in ids)]))
    return Opened(manifest, digest, passed_over, late, tuple(notices))


def _without_erased(store: Store, manifest: Manifest, later: Iterable[int]) -> tuple[Manifest, list[str]]:
    """A generation without the tasks whose files are gone since a later one had erased them, and their names.

    The later ones are damaged, so that nothing is deleted by what they say: they only tell why a file is missing.
    """
    gone = [task for task in manifest.tasks if not (store.path / task.file.name).exists()]
    said: set[str] = set()
    for number in later:
        with contextlib.suppress(DamagedError):
            said |= {*ERASED.findall(content_of(store.place_of(number)).decode(errors="replace"))}
    lost = [task for task in gone if task.file.name in said]
    tasks = tuple(task for task in manifest.tasks if task not in lost)
    erased = dict.fromkeys((*manifest.erased, *(task.file.name for task in lost)))
    return replace(manifest, tasks=tasks, erased=tuple(erased)), [task.name for task in lost]
