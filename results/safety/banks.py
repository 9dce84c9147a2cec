"""A small bank, every command that writes to it, and what is left of it after a fault."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from trials import Outcome

if TYPE_CHECKING:
    from hypertail.bank import Bank

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

QUICK = {"epochs": 2, "views": 1, "hold_out": 0.25}
State = dict[str, str]
"""Task -> digest of its answers."""


def opened(place: Path) -> Bank:
    """The bank; its model lies elsewhere."""
    from hypertail.bank import Bank
    from support.banks import resnet

    return Bank.open(place, model=resnet())


def make(place: Path) -> None:
    """A bank with an adapter, a task of its own and two that share a hypernetwork."""
    from support.banks import COLD, WARM, new_bank, pictures

    bank = new_bank(place)
    bank.learn("warm", pictures(WARM, 12), **QUICK)
    bank.learn("cold", pictures(COLD, 12), method="hypernet", **QUICK)
    bank.learn("dusk", pictures(("red", "light"), 12, seed=3), method="hypernet", **QUICK)
    bank.rename("warm", "heat")


def _found(place: Path) -> None:
    from support.banks import WARM, new_bank, pictures

    bank = opened(place) if (place / "bank.json").exists() else new_bank(place)
    bank.learn("first", pictures(WARM, 12), **QUICK)


def _learn(method: str, **options: object) -> Callable[[Path], None]:
    def work(place: Path) -> None:
        from support.banks import pictures

        images = pictures(("green", "blue"), 12, seed=5)
        opened(place).learn("new", images, method=method, **{**QUICK, **options})

    return work


def _extend(place: Path) -> None:
    from support.banks import pictures

    opened(place).extend("heat", pictures(("red", "blue"), 12, seed=4))


def _consolidate(place: Path) -> None:
    opened(place).consolidate(budget=1.0, steps=3)


def _simple(method: str, *words: object) -> Callable[[Path], None]:
    def work(place: Path) -> None:
        getattr(opened(place), method)(*words)

    return work


OPERATIONS: dict[str, Callable[[Path], None]] = {
    "create and learn the first": _found,
    "learn, adapter": _learn("adapter"),
    "learn, hypernetwork": _learn("hypernet", budget=1.0),
    "extend": _extend,
    "rename": _simple("rename", "cold", "ice"),
    "forget": _simple("forget", "heat"),
    "roll back": _simple("rollback", 2),
    "consolidate": _consolidate,
}


def state(place: Path) -> State:
    """What a reader finds; nothing where no bank is."""
    from support.banks import answers

    if not (place / "bank.json").exists():
        return {}
    bank = opened(place)
    return {name: hashlib.sha256(answers(bank, name).numpy().tobytes()).hexdigest() for name in bank.tasks}


def wrong_after_fault(outcome: Outcome, place: Path, old: State, new: State, *, killed: bool) -> list[str]:
    """What should not be, once a call failed or the process was killed.

    A file that was to be deleted may be there still: `verify` says so, and the next change deletes it.
    """
    from hypertail.bank.store.verify import UNDELETED
    from hypertail.errors import HypertailError

    wrong = []
    if not killed and outcome.code == 99 and ("HypertailError" not in outcome.text) and not told(outcome.text):
        wrong.append(f"ended with {outcome.text[-200:]}")
    try:
        found = state(place)
        if found not in (old, new):
            wrong.append("neither the old state nor the new")
        if found:
            problems = opened(place).verify().problems
            wrong += [f"{problem.file}: {problem.what}" for problem in problems if problem.what != UNDELETED]
    except HypertailError as error:
        wrong.append(str(error))
    return wrong


def told(text: str) -> bool:
    """Whether the last line of a traceback is an error that a command shows in one line."""
    last = next((line for line in reversed(text.splitlines()) if line and not line.startswith(" ")), "")
    return last.startswith(("hypertail.", "OSError", "PermissionError", "FileNotFoundError"))


def again(place: Path, operation: Callable[[Path], None], old: State) -> Callable[[], None]:
    """What a user does next: the same once more where it did not happen, and any other change."""

    def work() -> None:
        if state(place) == old:
            operation(place)
        bank = opened(place)
        name = next(iter(bank.tasks))
        bank.rename(name, "another")
        bank.rename("another", name)

    return work


def wrong_in_the_end(outcome: Outcome, place: Path, new: State) -> list[str]:
    """What should not be after that."""
    if outcome.code != 0:
        return [f"the next change ended with {outcome.code}: {outcome.text[-300:]}"]
    wrong = [] if state(place) == new else ["not the new state"]
    report = opened(place).verify()
    wrong += [f"{problem.file}: {problem.what}" for problem in report.problems]
    wrong += [f"left over: {name}" for name in report.unknown]
    return wrong + [f"left over: {path.name}" for path in place.rglob(".*")]
