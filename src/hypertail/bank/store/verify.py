"""Every byte of a bank, read and held against its digest."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from hypertail.bank.store.kept import Kept
from hypertail.bank.store.layout import FILES, GENERATIONS, LOCK, NUMBER, POINTER
from hypertail.bank.store.manifest import BACKBONE, FILE_NAME, Manifest, digest_of
from hypertail.bank.store.reading import content_of
from hypertail.bank.store.store import Store
from hypertail.errors import CheckpointError

UNDELETED = "forgotten, and still on disk; hypertail forget NAME, given again, deletes it"


@dataclass(frozen=True)
class Problem:
    """A damaged or missing file, or one that should be gone.

    Attributes:
        file: its name inside the bank.
        what: is wrong with it.
        concerns: tasks of the current generation that need it.
    """

    file: str
    what: str
    concerns: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """What `Store.verify` found.

    Attributes:
        files: how many were read.
        nbytes: of them.
        problems: damaged and missing files, and files of forgotten tasks that are there still.
        works: tasks of the current generation whose every byte is right.
        unknown: names of files that are not the bank's; they are left alone.
        earlier: tasks with a file on disk that the current generation does not have.
    """

    files: int
    nbytes: int
    problems: tuple[Problem, ...]
    works: tuple[str, ...]
    unknown: tuple[str, ...]
    earlier: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing is damaged, and nothing left of what was forgotten."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"passed": self.passed, **asdict(self)}

    def lines(self) -> tuple[str, ...]:
        """For people, a line each."""
        damaged = [problem for problem in self.problems if problem.what != UNDELETED]
        found = [f"{self.files} files, {self.nbytes:,} bytes read; {len(damaged)} damaged or missing"]
        found += [f"  {problem.file}: {problem.what}" for problem in self.problems if problem.what == UNDELETED]
        for problem in damaged:
            whom = f" (tasks: {', '.join(problem.concerns)})" if problem.concerns else " (an earlier generation)"
            found.append(f"  {problem.file}: {problem.what}{whom}")
        if damaged:
            found.append(f"still whole: {', '.join(self.works) or 'no task'}")
        if self.earlier:
            names = ", ".join(self.earlier)
            found.append(f"in earlier generations alone: {names}; hypertail forget NAME deletes one for good")
        if self.unknown:
            found.append(f"not the bank's, left alone: {', '.join(self.unknown)}")
        return tuple(found)


def verify(store: Store) -> Report:
    """Read every file of every kept generation."""
    problems: list[Problem] = []
    current, files, nbytes = store.manifest, 0, 0
    everyone = tuple(task.name for task in current.tasks)
    newest = max(current.generation, store.passed_over or 0)
    try:
        named = store.pointer()[0]
        newest = max(newest, named)
        if named < current.generation - 1:  # by one it is older, too, where a process was killed
            what = f"an older one: it names generation {named}, and {current.generation} is whole"
            problems.append(Problem(POINTER, what, ()))
    except CheckpointError as error:
        problems.append(Problem(POINTER, error.found, everyone))
    manifests: list[Manifest] = []
    for number in store.generations():
        if number > newest:  # being made by another process
            continue
        place = store.place_of(number)
        files, nbytes = files + 1, nbytes + place.stat().st_size
        try:
            manifests.append(store.read(number, None))
        except CheckpointError as error:
            concerns = everyone if number == current.generation else ()
            problems.append(Problem(f"{GENERATIONS}/{place.name}", error.found, concerns))
    refs = {name: ref for manifest in (*manifests, current) for name, ref in manifest.files().items()}
    bad: set[str] = set()
    for name, ref in refs.items():
        if name in current.erased and name not in current.files():
            continue
        place = store.path / name
        try:
            content = content_of(place)
        except CheckpointError as error:
            what = error.found
        else:
            files, nbytes = files + 1, nbytes + len(content)
            what = "" if digest_of(content) == ref.digest else "other bytes than were written, by their digest"
        if what:
            bad.add(name)
            problems.append(Problem(name, what, _concerned(name, current)))
    problems += [Problem(name, UNDELETED, ()) for name in store.undeleted()]
    stopped = {name for problem in problems for name in problem.concerns}
    works = tuple(name for name in everyone if name not in stopped)
    earlier = tuple(names[-1] for names in Kept.of(store).absent().values())
    return Report(files, nbytes, tuple(problems), works, tuple(_unknown(store)), earlier)


def _concerned(name: str, current: Manifest) -> tuple[str, ...]:
    """The tasks that need a file: of the model all, of another shared file those that were learned with it."""
    if name not in {each.name for each in current.shared.values()}:
        return tuple(task.name for task in current.tasks if task.file.name == name)
    everyone = BACKBONE in current.shared and current.shared[BACKBONE].name == name
    told = current.last_told
    # a task of which the log does not tell may need it
    needs = (task for task in current.tasks if task.id not in told or told[task.id].facts.get("shared"))
    return tuple(task.name for task in (current.tasks if everyone else needs))


def _unknown(store: Store) -> list[str]:
    found = [child.name for child in store.path.iterdir() if child.name not in (POINTER, GENERATIONS, FILES, LOCK)]
    for child in (store.path / FILES).iterdir():
        if not FILE_NAME.fullmatch(f"{FILES}/{child.name}"):
            found.append(f"{FILES}/{child.name}")
    for child in (store.path / GENERATIONS).iterdir():
        if not NUMBER.fullmatch(child.name):
            found.append(f"{GENERATIONS}/{child.name}")
    return sorted(found)
