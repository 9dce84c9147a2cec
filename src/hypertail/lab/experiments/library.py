"""Finished runs, wherever they lie."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hypertail.errors import DataError, HypertailError
from hypertail.lab.experiments.begun import precisions_in
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.precisions import told_precisions
from hypertail.lab.records.runfile import FILE_NAME, RunFile
from hypertail.training.batches import batch_sizes
from hypertail.training.precision import Speed


@dataclass(frozen=True)
class FinishedRun:
    """A finished run, the options it had, and where it lies (its checkpoint too, where that was kept)."""

    run: RunFile
    config: RunConfig
    directory: Path

    @property
    def learning_seconds(self) -> float:
        """Seconds of trunk, features and training: evaluation is left out, since it can be asked for more often."""
        return self.run.seconds - self.run.seconds_by_phase.get("evaluation", 0.0)


def matching(runs: Sequence[FinishedRun], configs: Sequence[RunConfig]) -> tuple[FinishedRun, ...]:
    """Those of `runs` that are runs of `configs`, in the order of `configs`; what is not finished is left out."""
    found = []
    for config in configs:
        identity = config.identity()
        found += [run for run in runs if run.config.identity() == identity and run.config.records(config)][:1]
    return tuple(found)


def options_of(run: RunFile) -> RunConfig:
    """The options of a finished run. What it did before there was an option counts as the usual value, if that would
    have changed nothing: tasks of at least `reference_steps` steps learn as they did.

    Raises:
        ConfigError: it has options that this version does not know.
    """
    config = RunConfig.from_json(run.config)
    if "reference_steps" in run.config.get("method", {}):
        return config
    usual = replace(config, options=config.options.updated({"reference_steps": None}))
    steps = min(config.epochs * len(batch_sizes(task.train, config.batch_size)) for task in run.tasks)
    return usual if steps >= usual.settled().options.get("reference_steps", 1) else config


@dataclass(frozen=True)
class Library:
    """Finished runs to choose from; `unread` are files that are no runs of this version, with the reason."""

    runs: tuple[FinishedRun, ...]
    unread: tuple[str, ...] = ()

    @classmethod
    def of(cls, folders: Iterable[Path]) -> Library:
        """All runs in folders and below, in the order of the folders; a run found twice counts once.

        Raises:
            DataError: a folder does not exist.
        """
        runs: dict[Path, FinishedRun] = {}
        unread: list[str] = []
        for folder in folders:
            if not folder.exists():
                raise DataError(
                    f"folder of runs '{folder}'",
                    required="a folder with finished runs",
                    found="nothing there",
                    hint="Check --from.",
                )
            for file in sorted(folder.rglob(FILE_NAME)) if folder.is_dir() else [folder]:
                if file.resolve() in runs:
                    continue
                try:
                    run = RunFile.read(file)
                    runs[file.resolve()] = FinishedRun(run, options_of(run), file.parent)
                except HypertailError as error:
                    unread.append(f"{file}: {error}")
        return cls(tuple(runs.values()), tuple(unread))

    def at(self, speed: Speed) -> Library:
        """Those of the runs that were trained at the precision that `speed` asks for; all for `auto`."""
        if speed == "auto":
            return self
        fitting = [
            run
            for run in self.runs
            if told_precisions(run.config, speed) == precisions_in({"precision": speed, **run.run.extra})
        ]
        return replace(self, runs=tuple(fitting))

    def finished(self, configs: Sequence[RunConfig]) -> tuple[FinishedRun, ...]:
        """Those of the runs that are runs of `configs`, in their order; what is missing is left out."""
        return matching(self.runs, configs)

    def missing(self, configs: Sequence[RunConfig]) -> list[RunConfig]:
        """Those of `configs` that no run stands for; one for each identity, the one that records most."""
        return [config for config in distinct(configs) if not self.finished((config,))]


def distinct(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """One configuration for each run that is needed: of two with the same identity one that records what both do.

    Two that record different things, neither of them all, stay two.
    """
    kept: list[tuple[RunConfig, dict[str, Any]]] = []
    for config in dict.fromkeys(configs):
        same = config.identity()
        if any(other.records(config) for other, identity in kept if identity == same):
            continue
        kept = [(other, identity) for other, identity in kept if not (identity == same and config.records(other))]
        kept.append((config, same))
    return [config for config, _ in kept]


def directory_name(config: RunConfig) -> str:
    """`split-cifar100-hn-3-tuned-e10-seed0-1f2e3d4c`: readable, and another one for every other configuration."""
    recorded = {name: config.options.get(name) for name in sorted(config.options.recorded)}
    facts = [config.identity(), config.eval_every, recorded]
    digest = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=4).hexdigest()
    return f"{config.run_name}-{digest}"
