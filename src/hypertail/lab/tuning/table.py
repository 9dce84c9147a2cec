"""The trials of a search as a table, with what limits its conclusions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hypertail.lab.experiments.describe import spell
from hypertail.lab.reports.places import ON, column_of_devices
from hypertail.lab.reports.tables import MISSING, Table, human_bytes, time_unit, with_spread
from hypertail.lab.tuning.importances import Importances
from hypertail.lab.tuning.plan import Search
from hypertail.lab.tuning.space import spelled
from hypertail.lab.tuning.trials import Trial, front_of

_METRICS = {"aca": "ACA %", "forgetting": "forgetting %", "learning_accuracy": "learning accuracy %"}
_TOLD = ("Failed: ", "Given up: ")


def build_table(trials: Sequence[Trial], search: Search) -> Table:
    """All trials that have a result, best first, a column for each option that was tried."""
    base = search.base
    names = list(dict.fromkeys((*search.space, *(name for trial in trials for name in trial.changes))))
    shown = [trial for trial in trials if trial.runs or trial.failures or trial.pruned]
    unit, length, digits = time_unit(run.seconds for trial in shown for run in trial.runs)
    several = len(search.objectives) > 1
    front = front_of(trials, search) if several else []
    where = column_of_devices([trial.runs for trial in shown])
    rows = []
    for index, trial in enumerate(shown):
        state = trial.state(search)
        cells = [spell(trial.changes.get(name, base.options.get(name))) for name in names]
        cells += [with_spread(trial.stat(metric), 100.0) for metric in _METRICS]
        kept = trial.stat("bytes")
        cells += [with_spread(trial.stat("seconds"), 1 / length, digits), human_bytes(kept.mean) if kept else MISSING]
        cells.append(state if state in ("failed", "pruned") else str(len(trial.runs)))
        cells += [device or MISSING for device in where[index : index + 1]]
        rows.append((*cells, *(["yes" if trial in front else ""] if several else [])))
    columns = (*map(spelled, names), *_METRICS.values(), f"time ({unit})", "bytes kept", "n", *((ON,) if where else ()))
    title = f"{base.stream}: {base.label}, preset {base.preset}, {base.epochs} epochs per experience"
    if base.experiences:
        title += f", first {base.experiences} experiences"
    return Table(
        f"{title}; on held-out data", columns + (("front",) if several else ()), tuple(rows), _notes(trials, search)
    )


def for_terminal(table: Table) -> Table:
    """What fits a terminal: headings that break, no learning accuracy, and no notes on what was told already."""
    left_out = table.columns.index(_METRICS["learning_accuracy"])
    columns, *rows = (
        tuple(cell for index, cell in enumerate(cells) if index != left_out) for cells in (table.columns, *table.rows)
    )
    headings = tuple(column.replace("-", "-\n") for column in columns)
    notes = tuple(note for note in table.notes if not note.startswith(_TOLD))
    return Table(table.title, headings, tuple(rows), notes)


def importance_table(importances: Importances) -> Table:
    """The importance of options."""
    rows = tuple((spelled(name), f"{100 * share:.0f}") for name, share in importances.shares.items())
    note = f"{importances.method}, from {importances.trials} finished trials: how far each explains their differences."
    return Table("Importance of options for the ACA", ("option", "share %"), rows, (note,))


def _notes(trials: Sequence[Trial], search: Search) -> tuple[str, ...]:
    share = search.base.validation
    notes = [
        f"Measured on {share:.0%} of the training data, held out from training and from the trunk's; "
        "test data took no part in the choice.",
        "One run per row (n = 1): the spread over seeds is unknown."
        if len(search.seeds) == 1
        else f"Mean ± sample standard deviation over {len(search.seeds)} seeds; rows with a smaller n are unfinished.",
    ]
    finished = [run for trial in trials for run in trial.runs]
    if finished:
        # classes are held out one by one, so that the share is kept up to rounding
        images = round(sum(task.train for task in finished[0].tasks) * share / (1 - share))
        aca = max(run.metrics["aca"] or 0.0 for run in finished)
        error = 100 * math.sqrt(aca * (1 - aca) / max(1, images))
        notes.append(
            f"About {images:,} validation images a run: the standard error of an ACA from their number alone is "
            f"{error:.1f} points. The trials share them, so differences are somewhat surer than that."
        )
    if sum(trial.is_whole(search) for trial in trials) > 1:
        notes.append("The highest of several measured ACAs is likely to be too high: report test accuracies.")
    if search.tolerance:
        notes.append(
            f"Chosen: of the trials whose ACA is within {100 * search.tolerance:g} points of the highest the one that "
            "keeps the fewest bytes (--tolerance)."
        )
    if len(search.objectives) > 1:
        notes.append(
            f"front: no other trial is as good in all of {', '.join(search.objectives)} and better in one of them."
        )
    if len({run.extra.get("precision") for run in finished}) > 1:
        notes.append(
            "Some trials were trained at full precision and some at mixed: small differences may come from that."
        )
    for trial in trials:
        words = search.describe(trial.changes)
        notes += [f"Failed: {words}, seed {seed}: {problem}" for seed, problem in trial.failures.items()]
        if trial.state(search) == "pruned":
            notes += [f"Given up: {words}, seed {seed}{_so_far(so_far)}" for seed, so_far in trial.pruned.items()]
    return tuple(notes)


def _so_far(accuracies: Sequence[float]) -> str:
    if not accuracies:
        return ", after this seed."
    experiences = "experience" if len(accuracies) == 1 else "experiences"
    return f", after {len(accuracies)} {experiences}: ACA so far {100 * accuracies[-1]:.1f} %."
