"""What a bank says of a task."""

from __future__ import annotations

from dataclasses import dataclass

from hypertail.bank.record import TaskRecord


@dataclass(frozen=True)
class TaskInfo:
    """What a bank says of a task.

    Attributes:
        name: as the user calls it.
        classes: names, in the order of the outputs.
        method: how it was learned.
        images: how many it was learned from.
        nbytes: of its file.
        held_out_accuracy: 0..1; None where nothing was held out.
        learned: ISO date and time, UTC.
        damaged: whether its file cannot be read, so that only the log tells of it; `classes` are empty then.
    """

    name: str
    classes: tuple[str, ...]
    method: str
    images: int
    nbytes: int
    held_out_accuracy: float | None
    learned: str
    damaged: bool = False

    @classmethod
    def of(cls, name: str, record: TaskRecord, nbytes: int) -> TaskInfo:
        """That of a record."""
        facts = record.facts
        images, accuracy = int(facts.get("images", 0)), facts.get("held_out_accuracy")
        return cls(name, record.classes, record.method, images, nbytes, accuracy, str(facts.get("when", "")))
