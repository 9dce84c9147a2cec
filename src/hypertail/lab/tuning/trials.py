"""The trials of a search, found in their run directories alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hypertail.errors import CheckpointError, ConfigError
from hypertail.lab.experiments.begun import Begun, read_options
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.describe import spell
from hypertail.lab.experiments.directories import FAILURE, OPTIONS, PRUNED
from hypertail.lab.records.runfile import FILE_NAME, RunFile
from hypertail.lab.reports.groups import Stat
from hypertail.lab.tuning.plan import OBJECTIVES, Search, quantity_of
from hypertail.lab.tuning.space import spelled
from hypertail.storage.atomic import write_text
from hypertail.storage.jsonfile import JsonError, json_text, read_json
from hypertail.training.metrics import running_accuracy


@dataclass(frozen=True)
class Trial:
    """One choice of options: its finished runs, and why there are no more.

    Attributes:
        changes: the options in which it differs from the base of the search.
        runs: finished ones, a seed each, in the order of the seeds.
        failures: seed -> what went wrong.
        pruned: seed -> where it was given up, the ACA so far after each experience; empty where its run had finished.
        began: when, in seconds; trials are told to Optuna in this order.
    """

    changes: Mapping[str, Any]
    runs: tuple[RunFile, ...] = ()
    failures: Mapping[int, str] = field(default_factory=dict)
    pruned: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    began: float = 0.0

    def stat(self, quantity: str) -> Stat | None:
        """Mean and spread over seeds of an objective or a metric; None where a run lacks it, or none is."""
        found = [quantity_of(run, quantity) for run in self.runs]
        values = [value for value in found if value is not None]
        return Stat.of(values) if values and len(values) == len(found) else None

    @property
    def size(self) -> float:
        """Bytes kept: what a smaller choice saves."""
        kept = self.stat("bytes")
        return math.inf if kept is None else kept.mean

    def is_whole(self, search: Search) -> bool:
        """Whether it ran with every seed, and none failed."""
        return not self.failures and len(self.runs) == len(search.seeds)

    def is_done(self, search: Search) -> bool:
        """Whether the search has nothing left to run of it: one that was given up goes on where nothing is pruned."""
        given_up = bool(self.pruned) and search.prune != "none"
        return self.is_whole(search) or bool(self.failures) or given_up

    def state(self, search: Search) -> str:
        """`finished`, `failed`, `pruned` or `unfinished`."""
        if self.is_whole(search):
            return "finished"
        return "failed" if self.failures else "pruned" if self.pruned else "unfinished"

    def values(self, search: Search) -> list[float]:
        """The mean of each objective over the seeds; for a whole trial."""
        stats = [self.stat(name) for name in search.objectives]
        return [math.nan if stat is None else stat.mean for stat in stats]

    def reports(self, search: Search) -> list[float]:
        """What pruning looks at: the ACA of each seed, or that of the first seed so far, after each experience."""
        if search.prune == "seeds":
            return [run.metrics["aca"] or 0.0 for run in self.runs]
        first = next((run for run in self.runs if run.seed == search.seeds[0]), None)
        if search.prune == "none":
            return []
        return list(self.pruned.get(search.seeds[0], ())) if first is None else running_accuracy(first.matrix).tolist()

    def order(self, search: Search) -> tuple[float, ...]:
        """Ascending from best to worst: finished, then pruned and unfinished, then failed; by ACA, forgetting, size."""
        aca, lost = self.stat("aca"), self.stat("forgetting")
        state = ("finished", "pruned", "unfinished", "failed").index(self.state(search))
        far = max((len(accuracies) for accuracies in self.pruned.values()), default=0)
        return (state, -len(self.runs), -far, -(aca.mean if aca else -1), lost.mean if lost else 0.0, self.size)


def find_trials(folder: Path, search: Search) -> list[Trial]:
    """The trials of a search below its folder of run directories, best first; also those that have no result yet.

    Raises:
        CheckpointError: a `run.json`, `failure.json` or `pruned.json` cannot be read.
        ConfigError: the options of a run cannot be read, or are not those of this search.
    """
    found: dict[tuple[tuple[str, Any], ...], Trial] = {}
    for path in sorted(folder.glob(f"*/*/{OPTIONS}")):
        config, place = read_options(path), path.parent
        _refuse_other(search, folder, place, config)
        if config.seed not in search.seeds:
            continue
        changes = search.changes(config)
        key, began = tuple(changes.items()), path.stat().st_mtime
        trial = found.get(key, Trial(changes, began=began))
        trial = replace(trial, began=min(trial.began, began))
        if (place / FILE_NAME).is_file():
            trial = replace(trial, runs=(*trial.runs, RunFile.read(place / FILE_NAME)))
        elif (place / FAILURE).is_file():
            trial = replace(trial, failures={**trial.failures, config.seed: str(_read(place / FAILURE, "problem"))})
        if (place / PRUNED).is_file():
            trial = replace(trial, pruned={**trial.pruned, config.seed: _accuracies(place / PRUNED)})
        found[key] = trial
    trials = [
        replace(t, runs=tuple(sorted(t.runs, key=lambda run: search.seeds.index(run.seed)))) for t in found.values()
    ]
    return sorted(trials, key=lambda trial: trial.order(search))


def _refuse_other(search: Search, folder: Path, place: Path, config: RunConfig) -> None:
    """Refuse a folder of trials that another search began: rows of one table share everything that is not tried."""
    base = search.base
    shared = replace(config, seed=base.seed, preset=base.preset, options=base.options)
    if shared == base and place == search.directory(folder, config):
        return
    earlier, now = config.identity(), base.identity()
    tried = {*search.space, "seed"}
    names = [n for n in dict.fromkeys((*earlier, *now)) if earlier.get(n) != now.get(n)]
    name = next((n for n in names if n not in tried), "preset")
    earlier, now = {"preset": config.preset, **earlier}, {"preset": base.preset, **now}
    raise ConfigError(
        f"trial {place}",
        required=f"{spelled(name)} {spell(now.get(name))}, as now, to go on with it",
        found=f"{spelled(name)} {spell(earlier.get(name))}",
        hint="Use another --out, or the same options as before.",
    )


def best_of(trials: Iterable[Trial], search: Search) -> Trial | None:
    """The whole trial of highest mean ACA, or the smallest within the tolerance of it (Appendix F).

    None where no trial is whole. Of trials with the same ACA, the one that forgets less is better, then the smaller.
    """
    whole = sorted((trial for trial in trials if trial.is_whole(search)), key=lambda trial: trial.order(search))
    if not whole:
        return None
    acas = [stat.mean if (stat := trial.stat("aca")) else 0.0 for trial in whole]
    # an allowance for rounding: 0.62 - 0.01 is a little more than 0.61
    near = [trial for trial, aca in zip(whole, acas, strict=True) if aca >= acas[0] - search.tolerance - 1e-9]
    return min(near, key=lambda trial: trial.size) if search.tolerance else whole[0]


def front_of(trials: Sequence[Trial], search: Search) -> list[Trial]:
    """The whole trials that no other one equals or beats in every objective and beats in one: the Pareto front."""
    signs = [1 if OBJECTIVES[name] == "maximize" else -1 for name in search.objectives]
    whole = [trial for trial in trials if trial.is_whole(search)]
    gains = [[s * v for s, v in zip(signs, trial.values(search), strict=True)] for trial in whole]

    def beaten(own: list[float]) -> bool:
        return any(g != own and all(a >= b for a, b in zip(g, own, strict=True)) for g in gains)

    return [trial for trial, own in zip(whole, gains, strict=True) if not beaten(own)]


def mark_failed(directory: Path, config: RunConfig, problem: str) -> None:
    """Leave in a run directory that its run failed, and why."""
    if not (directory / OPTIONS).is_file():
        Begun(config).write(directory)
    _write(directory / FAILURE, {"format": "hypertail-failure", "format_version": 1, "problem": problem})


def mark_pruned(directory: Path, accuracies: Sequence[float]) -> None:
    """Leave in a run directory that its trial was given up, and the ACA so far after each of its experiences."""
    content = {"format": "hypertail-pruned", "format_version": 1, "accuracies": list(accuracies)}
    _write(directory / PRUNED, content)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    write_text(path, json_text(content))


def _accuracies(path: Path) -> tuple[float, ...]:
    values = _read(path, "accuracies")
    if isinstance(values, list) and all(isinstance(value, float | int) and 0 <= value <= 1 for value in values):
        return tuple(map(float, values))
    raise _unreadable(path, "accuracies", f"'{str(values)[:60]}'")


def _read(path: Path, key: str) -> Any:
    """What `failure.json` or `pruned.json` says under a key."""
    try:
        return read_json(path)[key]
    except (JsonError, OSError, KeyError, TypeError) as error:
        raise _unreadable(path, key, f"something else ({type(error).__name__}: {error})") from error


def _unreadable(path: Path, key: str, found: str) -> CheckpointError:
    return CheckpointError(
        f"record of a trial that ended early '{path}'",
        required=f"JSON with a key '{key}'",
        found=found,
        hint="Delete the file to go on with the trial.",
    )
