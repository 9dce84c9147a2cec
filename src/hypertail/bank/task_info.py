"""What a bank says of a task."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from hypertail.bank.record import TaskRecord
from hypertail.errors import ConfigError, unknown_name
from hypertail.streams.report import plural


@dataclass(frozen=True)
class TaskInfo:
    """What a bank says of a task.

    Attributes:
        name: as the user calls it.
        classes: names, in the order of the outputs.
        method: how it was learned.
        images: how many it was learned from.
        nbytes: of its file.
        held_out_accuracy: 0..1; None where not of every class an image was held out.
        learned: ISO date and time, UTC.
        damaged: whether a file that answers for it cannot be read, so that only the log tells of it; `classes` are
            empty then.
        held_out_images: of which that is the accuracy.
    """

    name: str
    classes: tuple[str, ...]
    method: str
    images: int
    nbytes: int
    held_out_accuracy: float | None
    learned: str
    damaged: bool = False
    held_out_images: int = 0

    @classmethod
    def of(cls, name: str, record: TaskRecord, nbytes: int) -> TaskInfo:
        """That of a record."""
        facts = record.facts
        images, (accuracy, count) = int(facts.get("images", 0)), record.held_out
        when = str(facts.get("when", ""))
        return cls(name, record.classes, record.method, images, nbytes, accuracy, when, held_out_images=count)


def called(name: str, names: Iterable[str]) -> str:
    """The one of `names` that reads like `name`, else `name`, composed (NFC).

    A Mac spells accented letters in two characters, other systems in one, and nobody can see which.
    """
    known = list(names)
    composed = unicodedata.normalize("NFC", name)
    alike = (each for each in known if unicodedata.normalize("NFC", each) == composed)
    return name if name in known else next(alike, composed)


def share_right(accuracy: float, count: int, image: str = "held-out image") -> str:
    """`72.0 % of 25 held-out images right`; without a number where that is not known.

    Args:
        accuracy: 0..1.
        count: of the images; 0 where it is not known.
        image: what they are.
    """
    return f"{100 * accuracy:.1f} % of {plural(count, image) if count else image + 's'} right"


def no_such_task(name: str, tasks: Collection[str]) -> ConfigError:
    """The error for a name that no task of a bank has; the nearest is named."""
    if tasks:
        return unknown_name("task", name, tasks)
    hint = "Learn one: hypertail learn FOLDER --bank BANK, or bank.learn(name, folder)."
    return ConfigError(f"unknown task '{name}'", required="a task of this bank", found="no task yet", hint=hint)
