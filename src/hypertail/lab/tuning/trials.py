"""The record of a hyper-parameter search, made from the directories of its trials alone."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from hypertail.errors import CheckpointError
from hypertail.lab.experiments.begun import read_options
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.directories import FAILURE, OPTIONS
from hypertail.lab.experiments.place import USUAL, DataPlace
from hypertail.lab.records.runfile import FILE_NAME, RunFile
from hypertail.lab.reports.groups import Stat
from hypertail.lab.reports.tables import MISSING, Table, with_spread
from hypertail.lab.tuning.searchspace import arguments, option, spell
from hypertail.recipes.presets import preset
from hypertail.storage.atomic import write_text
from hypertail.storage.jsonfile import JsonError, read_json

RECORD, TABLE, BEST = "trials.json", "trials.md", "best.json"
_FORMAT, _VERSION = "hypertail-trials", 1
_SHOWN = {"aca": "validation ACA %", "forgetting": "forgetting %", "learning_accuracy": "learning accuracy %"}


@dataclass(frozen=True)
class Study:
    """What the trials of one search share, and how the best of them is chosen.

    Attributes:
        base: the configuration that trials change; `measure_on` is validation.
        seeds: every trial is run with each.
        tried: the switches searched over.
        tolerance: of the trials whose ACA is within so much (0..1) of the highest, the smallest is best.
    """

    base: RunConfig
    seeds: tuple[int, ...]
    tried: tuple[str, ...]
    tolerance: float = 0.0


@dataclass(frozen=True)
class Trial:
    """One choice of switches, at one length of the stream: its finished runs and its failures.

    Attributes:
        changes: the switches in which it differs from the study's base.
        experiences: learned the first so many; None for the length of the study.
        runs: finished ones, a seed each, in the order of the seeds.
        failures: seed -> what went wrong.
    """

    changes: Mapping[str, Any]
    experiences: int | None
    runs: tuple[RunFile, ...]
    failures: Mapping[int, str]

    def stat(self, quantity: str) -> Stat | None:
        """Mean and spread over seeds of a metric (0..1) or of `seconds`; None where a run lacks it, or none is."""
        found = [run.seconds if quantity == "seconds" else run.metrics[quantity] for run in self.runs]
        values = [value for value in found if value is not None]
        return Stat.of(values) if values and len(values) == len(found) else None

    @property
    def size(self) -> int:
        """Parameters of the hypernetwork, or bytes kept where there is none: what a smaller choice saves."""
        return max((run.hypernetwork_parameters or run.bytes_kept for run in self.runs), default=0)

    def is_whole(self, study: Study) -> bool:
        """Whether it ran the whole length of the study with every seed, and none failed."""
        return self.experiences is None and not self.failures and len(self.runs) == len(study.seeds)

    @property
    def order(self) -> tuple[float, ...]:
        """Ascending from best to worst: failed last, longer streams first, then by ACA, forgetting and size."""
        aca, lost = self.stat("aca"), self.stat("forgetting")
        length = math.inf if self.experiences is None else self.experiences
        return (len(self.failures), -length, -(aca.mean if aca else -1), lost.mean if lost else 0.0, self.size)


def find_trials(folder: Path, study: Study) -> list[Trial]:
    """The trials of `study` below `folder`, best first; runs with other options, or not finished, are left out.

    Raises:
        CheckpointError: a `run.json` or a `failure.json` cannot be read.
        ConfigError: the options of a run cannot be read.
    """
    base = study.base
    usual = vars(base.method)
    runs: dict[tuple[Any, ...], list[RunFile]] = {}
    failures: dict[tuple[Any, ...], dict[int, str]] = {}
    for path in sorted(folder.rglob(OPTIONS)):
        config = read_options(path)
        shared = replace(config, seed=base.seed, preset=base.preset, experiences=base.experiences, method=base.method)
        if shared != base or config.seed not in study.seeds:
            continue
        length = None if config.experiences == base.experiences else config.experiences
        changes = {name: value for name, value in vars(config.method).items() if value != usual[name]}
        key = (tuple(changes.items()), length)
        if (path.parent / FILE_NAME).is_file():
            runs.setdefault(key, []).append(RunFile.read(path.parent / FILE_NAME))
        elif (path.parent / FAILURE).is_file():
            failures.setdefault(key, {})[config.seed] = _problem(path.parent / FAILURE)
    trials = []
    for key in dict.fromkeys((*runs, *failures)):
        finished = sorted(runs.get(key, []), key=lambda run: study.seeds.index(run.seed))
        trials.append(Trial(dict(key[0]), key[1], tuple(finished), failures.get(key, {})))
    return sorted(trials, key=lambda trial: trial.order)


def best_of(trials: Iterable[Trial], study: Study) -> Trial | None:
    """The whole trial of highest mean ACA, or the smallest within the tolerance of it (Appendix F).

    None where no trial is whole. Of trials with the same ACA, the one that forgets less is better, then the smaller.
    """
    whole = sorted((trial for trial in trials if trial.is_whole(study)), key=lambda trial: trial.order)
    if not whole:
        return None
    acas = [stat.mean if (stat := trial.stat("aca")) else 0.0 for trial in whole]
    # an allowance for rounding: 0.62 - 0.01 is a little more than 0.61
    near = [trial for trial, aca in zip(whole, acas, strict=True) if aca >= acas[0] - study.tolerance - 1e-9]
    return min(near, key=lambda trial: trial.size) if study.tolerance else whole[0]


def command_for(trial: Trial, study: Study, data: DataPlace = USUAL) -> str:
    """The `hypertail run` that uses the switches of `trial`: the whole stream, all training data, test accuracies."""
    base = study.base
    words = ["hypertail", "run", base.stream, "--strategy", base.label.lower(), "--preset", base.preset]
    words += ["--seeds", *map(str, study.seeds), "--epochs", str(base.epochs), "--batch-size", str(base.batch_size)]
    for name in ("image_size", "classes_per_experience", "images_per_class", "views"):
        if (value := getattr(base, name)) is not None:
            words += [f"--{option(name)}", str(value)]
    return shlex.join(
        [*words, *data.arguments(), *arguments(replace(base.method, **trial.changes), preset(base.preset))]
    )


def write_record(trials: Sequence[Trial], study: Study, out: Path, data: DataPlace = USUAL) -> None:
    """Write `trials.json`, `trials.md` and, as soon as there is a best trial, `best.json` to the folder `out`."""
    head = {"format": _FORMAT, "format_version": _VERSION}
    content = {
        **head,
        "base": study.base.to_json(),
        "seeds": list(study.seeds),
        "tried": list(study.tried),
        "tolerance": study.tolerance,
        "trials": [_as_json(trial, study) for trial in trials],
    }
    write_text(out / RECORD, json.dumps(content, indent=1, allow_nan=False) + "\n")
    best = best_of(trials, study)
    text = to_markdown(trials, study)
    if best is not None:
        command = command_for(best, study, data)
        text += (
            f"\nBest of these: {describe(best, study)}. To use it, on the whole stream and measured on test data:\n\n"
        )
        text += f"    {command}\n"
        chosen = {"format": "hypertail-best", "format_version": 1, **_as_json(best, study), "command": command}
        write_text(out / BEST, json.dumps(chosen, indent=1, allow_nan=False) + "\n")
    write_text(out / TABLE, text)


def describe(trial: Trial, study: Study) -> str:
    """The switches of a trial, as in `penalty-weight 0.05, rank 76`."""
    return ", ".join(f"{option(name)} {spell(value)}" for name, value in _switches(trial, study).items())


def build_table(trials: Sequence[Trial], study: Study) -> Table:
    """All trials, best first, a column for each switch that was tried."""
    base = study.base
    names = list(dict.fromkeys((*study.tried, *(name for trial in trials for name in trial.changes))))
    length = [str(base.experiences or "all") if t.experiences is None else str(t.experiences) for t in trials]
    lengths = {"experiences": length} if len(set(length)) > 1 else {}
    rows = []
    for index, trial in enumerate(trials):
        switches = {name: trial.changes.get(name, getattr(base.method, name)) for name in names}
        cells = [*(spell(value) for value in switches.values()), *(column[index] for column in lengths.values())]
        cells += [with_spread(trial.stat(metric), 100.0) for metric in _SHOWN]
        cells.append(with_spread(trial.stat("seconds"), digits=0))
        cells.append(f"{trial.size:,}" if trial.size else MISSING)
        rows.append((*cells, "failed" if trial.failures else str(len(trial.runs))))
    size = "hypernetwork parameters" if base.strategy == "hn" else "bytes kept"
    columns = (*map(option, names), *lengths, *_SHOWN.values(), "seconds", size, "n")
    title = f"{base.stream}: {base.label}, preset {base.preset}, {base.epochs} epochs per experience"
    if base.experiences and not lengths:
        title += f", first {base.experiences} experiences"
    return Table(title, columns, tuple(rows), _notes(trials, study))


def to_markdown(trials: Sequence[Trial], study: Study) -> str:
    """The table as GitHub Markdown, with its notes."""
    table = build_table(trials, study)
    lines = [table.columns, ("--:",) * len(table.columns), *table.rows]
    body = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    return f"**{table.title}**\n\n{body}\n\n" + "".join(f"- {note}\n" for note in table.notes)


def to_rich(trials: Sequence[Trial], study: Study) -> RichTable:
    """The table for the terminal."""
    table = build_table(trials, study)
    shown = RichTable(
        title=Text(table.title),
        caption=Text("\n".join(table.notes)),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for column in table.columns:
        heading = column.replace(" %", "\N{NO-BREAK SPACE}%").replace(" ", "\n").replace("-", "-\n")
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in table.rows:
        shown.add_row(*map(Text, row))
    return shown


def _switches(trial: Trial, study: Study) -> dict[str, Any]:
    """Every switch that was tried or changed, with its value in `trial`."""
    names = dict.fromkeys((*study.tried, *trial.changes))
    return {name: trial.changes.get(name, getattr(study.base.method, name)) for name in names}


def _notes(trials: Sequence[Trial], study: Study) -> tuple[str, ...]:
    share = study.base.validation
    notes = [
        f"Measured on {share:.0%} of the training data, held out from training and from the trunk's; "
        "test data took no part in the choice.",
        "One run per row (n = 1): the spread over seeds is unknown."
        if len(study.seeds) == 1
        else f"Mean ± sample standard deviation over {len(study.seeds)} seeds; a row with a smaller n is not finished.",
    ]
    finished = [run for trial in trials if trial.experiences is None for run in trial.runs]
    if finished:
        # classes are held out one by one, so that the share is kept up to rounding
        images = round(sum(task.train for task in finished[0].tasks) * share / (1 - share))
        aca = max(run.metrics["aca"] or 0.0 for run in finished)
        error = 100 * math.sqrt(aca * (1 - aca) / max(1, images))
        notes.append(
            f"About {images:,} validation images a run: the standard error of an ACA from their number alone is "
            f"{error:.1f} points. The trials share them, so differences are somewhat surer than that."
        )
    if sum(trial.is_whole(study) for trial in trials) > 1:
        notes.append("The highest of several measured ACAs is likely to be too high: report test accuracies.")
    if any(trial.experiences is not None for trial in trials):
        notes.append("Rows of fewer experiences were given up on the way; ACAs of different lengths do not compare.")
    if len({run.extra.get("precision") for trial in trials for run in trial.runs}) > 1:
        notes.append(
            "Some trials were trained at full precision and some at mixed: small differences may come from that."
        )
    notes += [
        f"Failed: {describe(trial, study)}, seed {seed}: {problem}"
        for trial in trials
        for seed, problem in trial.failures.items()
    ]
    return tuple(notes)


def _as_json(trial: Trial, study: Study) -> dict[str, Any]:
    def stat(quantity: str) -> dict[str, float | None] | None:
        found = trial.stat(quantity)
        return None if found is None else {"mean": found.mean, "std": found.std}

    per_run = [
        {
            "seed": run.seed,
            **run.metrics,
            "seconds": run.seconds,
            "bytes_kept": run.bytes_kept,
            "hypernetwork_parameters": run.hypernetwork_parameters,
        }
        for run in trial.runs
    ]
    return {
        "switches": _switches(trial, study),
        "experiences": study.base.experiences if trial.experiences is None else trial.experiences,
        "n": len(trial.runs),
        **{quantity: stat(quantity) for quantity in (*_SHOWN, "seconds")},
        "runs": per_run,
        "failures": [{"seed": seed, "problem": problem} for seed, problem in trial.failures.items()],
    }


def _problem(path: Path) -> str:
    """What a `failure.json` says."""
    try:
        return str(read_json(path)["problem"])
    except (JsonError, OSError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"record of a failed trial '{path}'",
            required="JSON with a key 'problem'",
            found=f"something else ({type(error).__name__}: {error})",
            hint="Delete the file to run the trial again.",
        ) from error
