"""How many bytes a bank takes, beside what else could have been kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hypertail.bank.backbone import Backbone
from hypertail.bank.task_info import share_right
from hypertail.nets.task_tail import adaptable
from hypertail.nets.tensors import nbytes

HALF = 2
"""Bytes of a number in half precision, in which a bank keeps what learned."""
REPLAY_PER_CLASS = 20
"""Images of each class that a replay buffer is reckoned with."""


@dataclass(frozen=True)
class TaskSize:
    """What one task takes.

    Attributes:
        name: of the task.
        method: how it was learned.
        classes: how many.
        images: it was learned from.
        nbytes: of its file.
        answering: of what it answers with; the rest finds the task of an image, extends the task and certifies it.
        accuracy: on held-out images; None where there is none.
        held_out_images: of which that is the accuracy.
    """

    name: str
    method: str
    classes: int
    images: int
    nbytes: int
    answering: int
    accuracy: float | None
    held_out_images: int = 0


@dataclass(frozen=True)
class Summary:
    """Bytes of a bank and of its alternatives for the same tasks.

    Attributes:
        tasks: each task.
        shared: name of a shared file -> bytes; the backbone is `backbone` where it is stored.
        alternatives: what else -> bytes for all tasks, the backbone not counted; empty without the model.
        verdict: a plain sentence.
    """

    tasks: tuple[TaskSize, ...]
    shared: dict[str, int]
    alternatives: dict[str, int]
    verdict: str

    @property
    def nbytes(self) -> int:
        """All tasks and what they share, without the backbone."""
        shared = sum(count for name, count in self.shared.items() if name != "backbone")
        return shared + sum(task.nbytes for task in self.tasks)

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**asdict(self), "nbytes": self.nbytes}

    def lines(self) -> tuple[str, ...]:
        """The summary as text, a line each."""
        lines = [f"{len(self.tasks)} tasks, {kilobytes(self.nbytes)} without the backbone"]
        for task in self.tasks:
            accuracy = "" if task.accuracy is None else f", {share_right(task.accuracy, task.held_out_images)}"
            words = f"{task.method}, {task.classes} classes from {task.images} images"
            bytes_ = f"{kilobytes(task.nbytes)}, {kilobytes(task.answering)} of them to answer with"
            lines.append(f"  {task.name}: {bytes_} ({words}{accuracy})")
        lines += [f"  shared {name}: {kilobytes(count)}" for name, count in self.shared.items()]
        if self.alternatives:
            lines.append("the same tasks by other means:")
        lines += [f"  {name}: {kilobytes(count)}" for name, count in self.alternatives.items()]
        return (*lines, self.verdict)

    def __str__(self) -> str:
        """The lines in one."""
        return "\n".join(self.lines())


def alternatives(backbone: Backbone, classes: Sequence[int], rank: int = 8) -> dict[str, int]:
    """Bytes for tasks of so many classes, by what is kept of each; numbers in half precision, images as pixels.

    Args:
        backbone: of the bank.
        classes: of each task.
        rank: of the adapters.
    """
    body = dict(backbone.body.named_parameters())
    heads = sum((backbone.width + 1) * count for count in classes)
    wide = adaptable(backbone.body)
    adapters = sum(rank * (body[name].shape[0] + body[name].shape[1] + body[name][0, 0].numel()) for name in wide)
    vectors = sum(value.numel() for value in body.values() if value.dim() < 2)
    whole = sum(value.numel() for value in body.values())
    trunk = nbytes(backbone.trunk.parameters()) + nbytes(backbone.trunk.buffers())
    model = trunk + nbytes(backbone.body.parameters()) + nbytes(backbone.body.buffers())
    pixels = 3 * backbone.preprocessing.size**2
    return {
        "a head each": HALF * heads,
        f"an adapter of rank {rank} each": HALF * (len(classes) * (adapters + vectors) + heads),
        "a tail each": HALF * (len(classes) * whole + heads),
        "a model each (single precision)": len(classes) * model + 2 * HALF * heads,
        f"a replay buffer of {REPLAY_PER_CLASS} images a class": REPLAY_PER_CLASS * sum(classes) * pixels,
    }


def verdict(tasks: Sequence[TaskSize], shared: int, adapters: int) -> str:
    """Whether a hypernetwork pays in bytes: at how many tasks like these it would.

    Args:
        tasks: of the bank.
        shared: bytes of the hypernetwork; 0 where there is none.
        adapters: bytes of adapters for the same tasks.
    """
    generated = [task for task in tasks if task.method == "hypernet"]
    if not generated:
        return "No task uses a hypernetwork."
    each = sum(task.answering for task in generated) / len(generated)
    other = adapters / len(tasks)
    if each >= other:
        return (
            f"The hypernetwork does not pay: its tasks take {kilobytes(round(each))} each, adapters would take "
            f"{kilobytes(round(other))}, and {kilobytes(shared)} are shared besides."
        )
    needed = shared / (other - each)
    if needed > len(generated):
        return (
            f"The hypernetwork does not pay yet: {kilobytes(shared)} are shared, which saves "
            f"{kilobytes(round(other - each))} a task and pays from {needed:.0f} tasks on."
        )
    return f"The hypernetwork pays: it saves {kilobytes(round((other - each) * len(generated) - shared))} in all."


def kilobytes(count: int) -> str:
    """`12.3 kB`."""
    return f"{count / 1000:,.1f} kB"
