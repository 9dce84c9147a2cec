"""What runs must share to be compared: what is learned, how long, and from how many images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

from hypertail.errors import ConfigError
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.library import options_of
from hypertail.lab.records.runfile import RunFile

_OF_THE_STRATEGY = {"strategy", "depth", "preset", "options"}
_TOLD_APART = {"stream", "epochs", "images_per_class", "experiences", "classes_per_experience"}
"""Said by a field of `Conditions`, by what the tasks hold."""
_ALIKE = 1.25
"""Means of images a class that differ by this factor are as many: a seed draws classes of other sizes than another."""
_WITHOUT_EFFECT = {"seed", "eval_every"}
_USUAL = {item.name: item.default for item in fields(RunConfig) if item.default is not MISSING}


@dataclass(frozen=True)
class Conditions:
    """Everything that decides a run, other than its seed, its strategy and the options of the strategy.

    Attributes:
        stream: name of the stream.
        tasks: number of experiences.
        classes: numbers of classes that tasks have, in ascending order; one number where all have as many.
        epochs: per experience.
        images: training images a class, the mean over all classes.
        limit: at most so many of each class were asked for; None for all.
        others: options that are not as usual (model, share held out, size of images), by name.
    """

    stream: str
    tasks: int
    classes: tuple[int, ...]
    epochs: int
    images: float
    limit: int | None
    others: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, run: RunFile) -> Conditions:
        """The conditions of a finished run."""
        config = _today(run)
        names = {item.name for item in fields(RunConfig)} - _OF_THE_STRATEGY - _TOLD_APART - _WITHOUT_EFFECT
        others = {name: config[name] for name in names if name in config and config[name] != _USUAL.get(name)}
        classes = sum(len(task.classes) for task in run.tasks)
        return cls(
            run.stream,
            len(run.tasks),
            tuple(sorted({len(task.classes) for task in run.tasks})),
            run.epochs,
            sum(task.train for task in run.tasks) / max(1, classes),
            limit if isinstance(limit := config.get("images_per_class"), int) else None,
            tuple((name, str(value)) for name, value in sorted(others.items())),
        )

    def alike(self, other: Conditions) -> bool:
        """Whether runs of both may be compared: all is equal, and there are as many images a class.

        Where as many of each were asked for, or all, there may be some more: classes differ in size.
        """
        if replace(self, images=other.images, limit=other.limit) != other:
            return False
        few, many = sorted((self.images, other.images))
        return few == many or (self.limit == other.limit and many <= _ALIKE * few)

    def words(self, runs: Sequence[RunFile]) -> str:
        """`split-cifar100, 20 tasks of 5 classes, 500 images a class, 10 epochs a task`, for runs of these."""
        classes = " or ".join(map(str, self.classes))
        even = len({task.train / max(1, len(task.classes)) for run in runs for task in run.tasks}) <= 1
        parts = [
            self.stream,
            f"{self.tasks} task{'s' * (self.tasks != 1)} of {classes} class{'es' * (classes != '1')}",
            f"{'' if even else 'about '}{self.images:.0f} images a class",
            f"{self.epochs} epoch{'s' * (self.epochs != 1)} a task",
            *(f"{name.replace('_', ' ')} {value}" for name, value in self.others),
        ]
        return ", ".join(parts)


def by_conditions(runs: Iterable[RunFile]) -> list[tuple[Conditions, list[RunFile]]]:
    """Runs that may be compared, together: streams as they come, then fewest images a class and shortest first."""
    of = [(Conditions.of(run), run) for run in runs]
    streams = list(dict.fromkeys(conditions.stream for conditions, _ in of))

    def order(conditions: Conditions) -> tuple[Any, ...]:
        limit = conditions.limit or 0
        kind = (conditions.classes, conditions.others, conditions.epochs, limit, conditions.images)
        return (streams.index(conditions.stream), conditions.tasks, *kind)

    found: list[tuple[Conditions, list[RunFile]]] = []
    for conditions, run in sorted(of, key=lambda item: order(item[0])):  # a stable sort
        alike = next((own for other, own in found if other.alike(conditions)), None)
        if alike is None:
            found.append((conditions, [run]))
        else:
            alike.append(run)
    return sorted(found, key=lambda item: (order(item[0])[:4], item[0].images, item[0].epochs))


def _today(run: RunFile) -> Mapping[str, Any]:
    try:
        return options_of(run).to_json()
    except ConfigError:  # options of the user's own
        return run.config
