"""What held-out images can say of a task: nothing, where some of its classes have none."""

from __future__ import annotations

from dataclasses import replace

from hypertail.bank.images.task_images import TaskImages
from hypertail.bank.record import TaskRecord
from hypertail.errors import ConfigError


def lacking(held: TaskImages | None, classes: tuple[str, ...]) -> list[str]:
    """The classes of which no image is held out, where others have some."""
    there = set() if held is None else {held.classes[label] for label in held.labels.unique().tolist()}
    return [name for name in classes if name not in there] if there else []


def told_of_all(record: TaskRecord, held: TaskImages | None) -> TaskRecord:
    """The record, without an accuracy where that is of some classes alone: it would be read as the task's."""
    if held is not None and not lacking(held, record.classes):
        return record
    return replace(record, facts=record.facts | {"held_out_accuracy": None, "held_out_images": 0})


def not_told(held: TaskImages | None, classes: tuple[str, ...], given: bool) -> tuple[str, ...]:
    """A notice that an accuracy is not told, where the images were `given` to measure it."""
    missing = lacking(held, classes) if given else []
    return (f"no validation images of {', '.join(missing)}: accuracy on the others is not told",) if missing else ()


def check_all_classes(held: TaskImages | None, classes: tuple[str, ...]) -> None:
    """Refuse to choose a method by images of some classes alone.

    Raises:
        ConfigError: naming the classes that have none.
    """
    missing = lacking(held, classes)
    if missing:
        raise ConfigError(
            "method 'auto'",
            required="validation images of every class, by which it chooses",
            found=f"none of {', '.join(missing)}",
            hint="Add some, leave validation out, or name a method: head, adapter or separate.",
        )
