"""Finished runs, grouped over their seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypertail.errors import ConfigError
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.records.runfile import RunFile
from hypertail.recipes.catalogue import known_recipe
from hypertail.training.metrics import METRICS

QUANTITIES = (*METRICS, "changed", "cil", "seconds", "bytes_kept")

# Options that say where, not what, was run; runs that differ only in them are compared as the same.
_PLACE = {
    "seed",
    "seeds",
    "out",
    "output",
    "data",
    "root",
    "cache",
    "device",
    "threads",
    "workers",
    "num_workers",
}
_PLACE |= {"resume", "overwrite", "progress", "quiet", "verbose", "command", "name", "tags"}
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
    def seeds(self) -> tuple[int, ...]:
        """The seeds, in ascending order; one that occurs twice is listed twice."""
        return tuple(sorted(run.seed for run in self.runs))

    def stat(self, quantity: str) -> Stat | None:
        """Mean and spread of a metric (0..1), `seconds` or `bytes_kept`; None if one of the runs lacks it."""
        values: list[float] = []
        for run in self.runs:
            value = run.metrics[quantity] if quantity in METRICS else getattr(run, quantity)
            if value is None:
                return None
            values.append(value)
        return Stat.of(values)


def group_runs(runs: Iterable[RunFile]) -> list[Group]:
    """Group runs over seeds; sorted: naive, EWC, latent replay and hypernetworks by depth, your own, bounds.

    Runs belong together when stream, number of experiences, label, preset, epochs and every option agree,
    other than the seed and options that say where to run (folders, device, threads).
    """
    runs = list(runs)
    streams = list(dict.fromkeys(run.stream for run in runs))
    by_key: dict[tuple[Any, ...], list[RunFile]] = {}
    for run in runs:
        by_key.setdefault((*_family(run), tuple(_options(run).items())), []).append(run)
    members = sorted(by_key.values(), key=lambda m: (streams.index(m[0].stream), *_sort_key(m[0])))
    firsts = [group[0] for group in members]
    groups = []
    for group in members:
        group.sort(key=lambda run: run.seed)
        variant = _variant(group[0], [other for other in firsts if _family(other) == _family(group[0])])
        groups.append(Group(tuple(group), variant, _name(group[0], variant, firsts)))
    return groups


def _family(run: RunFile) -> tuple[Any, ...]:
    """What a table shows in columns of its own."""
    return (run.stream, len(run.tasks), run.label, run.preset, run.epochs)


def _sort_key(run: RunFile) -> tuple[Any, ...]:
    recipe = known_recipe(run.strategy)
    place = _UNKNOWN if recipe is None else recipe.order
    depth = float(run.depth) if isinstance(run.depth, int) else math.inf if run.depth == "full" else -1.0
    return (place, depth, run.label, len(run.tasks), run.preset, run.epochs, str(_options(run)))


def _options(run: RunFile) -> dict[str, str]:
    """The options of a run that matter, flat, sorted by name."""

    def flat(value: object, name: str) -> Iterable[tuple[str, str]]:
        if isinstance(value, Mapping):
            for key, item in value.items():
                if key not in _PLACE:
                    yield from flat(item, f"{name}.{key}" if name else key)
        else:
            yield name, str(value)

    return dict(sorted(flat(_today(run.config), "")))


def _today(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options of a run as this version writes them: one that an older version lacks sets no group apart."""
    try:
        return RunConfig.from_json(config).settled().to_json()
    except ConfigError:  # options of the user's own
        return config


def _variant(run: RunFile, siblings: Sequence[RunFile]) -> str:
    """The options in which `run` differs from some sibling, by the last part of their names where that is clear."""
    mine, others = _options(run), [_options(other) for other in siblings]
    names = sorted({name for other in (mine, *others) for name in other})
    differing = [name for name in names if any(other.get(name) != mine.get(name) for other in others)]
    last = [name.rpartition(".")[2] for name in differing]
    short = {name: part if last.count(part) == 1 else name for name, part in zip(differing, last, strict=True)}
    return ", ".join(f"{short[name]}={mine.get(name, 'unset')}" for name in differing)


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
