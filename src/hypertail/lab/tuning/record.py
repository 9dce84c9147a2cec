"""The record of a search: `trials.json`, `trials.md` and `best.json`, made from what its directories hold."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypertail.lab.experiments.place import DataPlace
from hypertail.lab.records.runfile import RunFile
from hypertail.lab.reports.tables import build_tables, markdown_table
from hypertail.lab.tuning.importances import Importances
from hypertail.lab.tuning.plan import Search
from hypertail.lab.tuning.space import Range, arguments, spelled
from hypertail.lab.tuning.table import build_table, importance_table
from hypertail.lab.tuning.trials import Trial, best_of, front_of
from hypertail.nets.models import USUAL as MAIN_MODEL
from hypertail.recipes.catalogue import usual_options
from hypertail.storage.atomic import write_text
from hypertail.storage.jsonfile import json_text

RECORD, TABLE, BEST = "trials.json", "trials.md", "best.json"
_VERSION = 2
"""1 had `switches` for `options`, trials of fewer experiences, and no trials that were given up."""


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        trials: best first.
        importances: of options, where there are trials enough.
        report: runs of the chosen options on the stream to report on.
    """

    trials: tuple[Trial, ...]
    importances: Importances | None = None
    report: tuple[RunFile, ...] = ()


def command_for(trial: Trial, search: Search, data: DataPlace = DataPlace()) -> str:  # noqa: B008 -- immutable
    """The `hypertail run` that uses the options of `trial`: the whole stream, all training data, test accuracies."""
    base = search.base
    words = ["hypertail", "run", base.stream, "--strategy", base.label.lower(), "--preset", base.preset]
    words += ["--model", base.model] if base.model != MAIN_MODEL else []
    words += ["--seeds", *map(str, search.seeds), "--epochs", str(base.epochs), "--batch-size", str(base.batch_size)]
    for name in ("image_size", "classes_per_experience", "images_per_class", "augment"):
        if (value := getattr(base, name)) is not None:
            words += [f"--{spelled(name)}", str(value)]
    usual = usual_options(base.strategy, base.preset)
    return shlex.join([*words, *data.arguments(), *arguments(base.options.replace(**trial.changes), usual)])


def write_record(found: Found, search: Search, out: Path, data: DataPlace = DataPlace()) -> None:  # noqa: B008
    """Write `trials.json`, `trials.md` and, as soon as there is a best trial, `best.json` to the folder `out`."""
    front = front_of(found.trials, search) if len(search.objectives) > 1 else []
    content: dict[str, Any] = {
        "format": "hypertail-trials",
        "format_version": _VERSION,
        "base": search.base.to_json(),
        "space": {name: _tried(values) for name, values in search.space.items()},
        "seeds": list(search.seeds),
        "objectives": list(search.objectives),
        "tolerance": search.tolerance,
        "trials": [_as_json(trial, search) | ({"front": trial in front} if front else {}) for trial in found.trials],
    }
    text = markdown_table(build_table(found.trials, search))
    if found.importances is not None:
        shares = found.importances
        content["importances"] = {"method": shares.method, "trials": shares.trials, "shares": dict(shares.shares)}
        text += "\n" + markdown_table(importance_table(shares))
    best = best_of(found.trials, search)
    if best is not None:
        command = command_for(best, search, data)
        text += f"\nBest of these: {search.describe(best.changes)}. "
        text += f"To use it, on the whole stream and measured on test data:\n\n    {command}\n"
        chosen = {"format": "hypertail-best", "format_version": _VERSION, **_as_json(best, search), "command": command}
        if found.report:
            content["report"] = chosen["report"] = {
                "stream": found.report[0].stream,
                "runs": [_of_run(run) for run in found.report],
            }
            text += "\nThe same options on all training data, measured on test data without a part in the choice:\n\n"
            text += "\n".join(map(markdown_table, build_tables(found.report)))
        _write_json(out / BEST, chosen)
    _write_json(out / RECORD, content)
    write_text(out / TABLE, text)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_text(path, json_text(content))


def _tried(values: Range | Sequence[Any]) -> Any:
    return {"low": values.low, "high": values.high} if isinstance(values, Range) else list(values)


def _of_run(run: RunFile) -> dict[str, Any]:
    return {
        "seed": run.seed,
        **run.metrics,
        "seconds": run.seconds,
        "bytes_kept": run.bytes_kept,
        "hypernetwork_parameters": run.hypernetwork_parameters,
    }


def _as_json(trial: Trial, search: Search) -> dict[str, Any]:
    def stat(quantity: str) -> dict[str, float | None] | None:
        found = trial.stat(quantity)
        return None if found is None else {"mean": found.mean, "std": found.std}

    names = dict.fromkeys((*search.space, *trial.changes))
    return {
        "options": {name: trial.changes.get(name, search.base.options.get(name)) for name in names},
        "state": trial.state(search),
        "n": len(trial.runs),
        **{name: stat(name) for name in ("aca", "forgetting", "learning_accuracy", "seconds", "bytes")},
        "runs": [_of_run(run) for run in trial.runs],
        "failures": [{"seed": seed, "problem": problem} for seed, problem in trial.failures.items()],
        "pruned": [{"seed": seed, "aca_so_far": list(so_far)} for seed, so_far in trial.pruned.items()],
    }
