"""Finished runs, grouped over their seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypertail.lab.records.runfile import RunFile
from hypertail.lab.reports.deciding import Deciding
from hypertail.recipes.catalogue import known_recipe
from hypertail.training.metrics import METRICS

QUANTITIES = (*METRICS, "changed", "cil", "seconds", "bytes_kept")

_UNKNOWN = 50.0
"""Order of strategies that are not known here: behind learners, before references."""


@dataclass(frozen=True)
class Stat:
    """Mean and sample standard deviation (n - 1 in the denominator; None for one value) of `n` values."""

    mean: float
    std: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Stat:
        """The statistics of at least one value."""
        std = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), std, len(values))


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seeds only.

    `variant` names the options that set the group apart from others with its label, preset and epochs
    (`weight=0.1`), and `name` is the label with whatever sets it apart within its stream.
    """

    runs: tuple[RunFile, ...]
    variant: str
    name: str

    @property
    def first(self) -> RunFile:
        """One run, for what all of them share."""
        return self.runs[0]

    @property
    def by_seed(self) -> dict[int, tuple[RunFile, ...]]:
        """Seed -> its runs, in ascending order. Two runs of one seed repeat each other: a seed counts once."""
        return {seed: tuple(run for run in self.runs if run.seed == seed) for seed in self.seeds}

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, in ascending order."""
        return tuple(sorted({run.seed for run in self.runs}))

    @property
    def repeated(self) -> bool:
        """Whether a seed has several runs."""
        return len(self.seeds) < len(self.runs)

    def values(self, quantity: str) -> list[float] | None:
        """A value for each seed, the mean of its runs; None if a seed has none.

        Args:
            quantity: a metric (0..1) or another of `QUANTITIES`.
        """
        values: list[float] = []
        for runs in self.by_seed.values():
            found = [value for run in runs if (value := value_of(run, quantity)) is not None]
            if not found:
                return None
            values.append(statistics.fmean(found))
        return values

    def stat(self, quantity: str) -> Stat | None:
        """Mean and spread over seeds of a metric (0..1) or another of `QUANTITIES`; None if a seed lacks it."""
        values = self.values(quantity)
        return None if values is None else Stat.of(values)

    def mean(self, value_of: Callable[[RunFile], float]) -> float:
        """The mean over seeds of a number that every run has."""
        return statistics.fmean(statistics.fmean(map(value_of, runs)) for runs in self.by_seed.values())

    def rows(self, row_of: Callable[[RunFile], NDArray[np.float64]]) -> NDArray[np.float64]:
        """An array for each seed, the mean of those of its runs; NaN where one of them has none."""
        return np.array([np.mean([row_of(run) for run in runs], axis=0) for runs in self.by_seed.values()])


def value_of(run: RunFile, quantity: str) -> float | None:
    """A metric of a run (0..1) or another of `QUANTITIES`; None where it was not measured."""
    value: float | None = run.metrics[quantity] if quantity in METRICS else getattr(run, quantity)
    return value


def group_runs(runs: Iterable[RunFile]) -> list[Group]:
    """Group runs over seeds; sorted: naive, EWC, latent replay and hypernetworks by depth, your own, bounds.

    Runs belong together when stream, number of experiences, label, preset, epochs and every option that decides
    something agree (`Deciding`).
    """
    runs = list(runs)
    streams = list(dict.fromkeys(run.stream for run in runs))
    by_key: dict[tuple[Any, ...], tuple[list[RunFile], Deciding]] = {}
    for run in runs:
        options = Deciding.of(run)
        by_key.setdefault((*_family(run), options.key), ([], options))[0].append(run)
    members = sorted(
        by_key.values(), key=lambda member: (streams.index(member[0][0].stream), *_sort_key(member[0][0], member[1]))
    )
    firsts = [own[0] for own, _ in members]
    groups = []
    for own, options in members:
        family = _family(own[0])
        variant = options.variant([others for group, others in members if _family(group[0]) == family])
        ordered = tuple(sorted(own, key=lambda run: run.seed))
        groups.append(Group(ordered, variant, _name(own[0], variant, firsts)))
    return groups


def _family(run: RunFile) -> tuple[Any, ...]:
    """What a table shows in columns of its own."""
    return (run.stream, len(run.tasks), run.label, run.preset, run.epochs)


def _sort_key(run: RunFile, options: Deciding) -> tuple[Any, ...]:
    recipe = known_recipe(run.strategy)
    place = _UNKNOWN if recipe is None else recipe.order
    depth = float(run.depth) if isinstance(run.depth, int) else math.inf if run.depth == "full" else -1.0
    return (place, depth, run.label, len(run.tasks), run.preset, run.epochs, str(options.key))


def _name(run: RunFile, variant: str, all_runs: Sequence[RunFile]) -> str:
    """The label, with preset, epochs and experiences where the runs of its stream differ in them."""
    alike = [other for other in all_runs if other.stream == run.stream]
    parts = [
        run.preset if any(other.preset != run.preset for other in alike) else "",
        f"{run.epochs} epochs" if any(other.epochs != run.epochs for other in alike) else "",
        f"{len(run.tasks)} experiences" if any(len(other.tasks) != len(run.tasks) for other in alike) else "",
        variant,
    ]
    known = ", ".join(part for part in parts if part)
    return f"{run.label} ({known})" if known else run.label
