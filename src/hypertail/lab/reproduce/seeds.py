"""How many seeds stand behind what is shown, and where it is not the same number everywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.describe import spell
from hypertail.lab.experiments.library import FinishedRun

_MANY = 6
"""More exceptions than this are not listed."""


def seeds_by_row(used: Sequence[FinishedRun]) -> list[tuple[FinishedRun, tuple[int, ...]]]:
    """One run of each configuration, and the seeds that were run of it."""
    rows: dict[str, tuple[FinishedRun, set[int]]] = {}
    for run in used:
        identity = {name: value for name, value in run.config.identity().items() if name != "seed"}
        rows.setdefault(json.dumps(identity, sort_keys=True), (run, set()))[1].add(run.run.seed)
    return [(run, tuple(sorted(seeds))) for run, seeds in rows.values()]


def told_seeds(used: Sequence[FinishedRun]) -> str:
    """`n = 3 (seeds 0, 1, 2)`, with the rows that have other ones: `, but HN-2: n = 1 (seed 0)`."""
    rows = seeds_by_row(used)
    counted = [seeds for _, seeds in rows]
    usual = max(counted, key=lambda seeds: (counted.count(seeds), len(seeds)), default=())
    others: dict[tuple[int, ...], list[str]] = {}
    for run, seeds in rows:
        if seeds != usual:
            others.setdefault(seeds, []).append(named(run.config, [other.config for other, _ in rows]))
    if sum(map(len, others.values())) > _MANY:
        sizes = sorted(map(len, counted))
        union = tuple(sorted(set().union(*counted)))
        between = f"n = {sizes[0]} to {sizes[-1]}" if sizes[0] < sizes[-1] else f"n = {sizes[0]}"
        return f"{between} (of {_seeds(union)})"
    each = [f"{', '.join(dict.fromkeys(names))}: {_counted(seeds)}" for seeds, names in others.items()]
    return f"{_counted(usual)}{', but ' if each else ''}{'; '.join(each)}"


def named(config: RunConfig, among: Sequence[RunConfig]) -> str:
    """The label of a run, with what else tells it apart from others: stream, images a class, main model, options."""
    words = [config.label]
    if len({other.images_per_class for other in among}) > 1:
        count = config.images_per_class
        words.append(f"with {'all' if count is None else count} images a class")
    if len({other.stream for other in among}) > 1:
        words.append(f"on {config.stream}")
    if len({other.model for other in among}) > 1:
        words.append(f"of {config.model}")
    if options := _told_apart(config, among):
        words.append(f"({options})")
    return " ".join(words)


def _told_apart(config: RunConfig, among: Sequence[RunConfig]) -> str:
    """The options in which runs of its label differ: `lookahead first`; empty where they have the same."""
    own = config.options.flat()
    alike = [other.options.flat() for other in among if other.label == config.label]
    names = [name for name, value in own.items() if any(other.get(name) != value for other in alike)]
    return ", ".join(f"{name.replace('_', '-')} {spell(own[name])}" for name in names)


def _counted(seeds: Sequence[int]) -> str:
    return f"n = {len(seeds)} ({_seeds(seeds)})"


def _seeds(seeds: Sequence[int]) -> str:
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"
