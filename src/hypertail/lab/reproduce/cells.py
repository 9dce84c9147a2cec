"""Cells and notes of a reproduced table, from finished runs."""

from __future__ import annotations

from collections.abc import Sequence

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.library import FinishedRun
from hypertail.lab.reports.papertable import Cell, Number
from hypertail.lab.reports.places import ON, column_of_devices
from hypertail.lab.reproduce.captions import caption
from hypertail.lab.reproduce.seeds import seeds_by_row
from hypertail.lab.reproduce.setting import Setting

SPREAD = "Measured values are means ± sample standard deviation over seeds."
TIMES = (
    "Time is that of learning (trunk, features and training, without evaluation), measured on the hardware named here; "
    "the paper's was measured on its own. A trunk that several rows share counts in each."
)


def percent(runs: Sequence[FinishedRun], metric: str) -> Number | None:
    """A metric such as `aca`, or `changed`, in percent; None without runs or where it is undefined."""
    values = [run.run.changed if metric == "changed" else run.run.metrics[metric] for run in runs]
    return Number.of([100 * value for value in values if value is not None]) if None not in values else None


def learned(runs: Sequence[FinishedRun], task: int) -> Number | None:
    """Accuracy on an experience (from 0) right after learning it, in percent."""
    values = [100 * float(run.run.matrix[task, task]) for run in runs if task < len(run.run.tasks)]
    return Number.of(values)


def minutes(runs: Sequence[FinishedRun]) -> Number | None:
    """Minutes of learning."""
    return Number.of([run.learning_seconds / 60 for run in runs])


def kept(runs: Sequence[FinishedRun]) -> Number | None:
    """Bytes kept from one experience to the next."""
    return Number.of([run.run.bytes_kept for run in runs], unit="bytes")


def count(runs: Sequence[FinishedRun]) -> Number | None:
    """The number of runs behind a row; None where there is none."""
    return Number(len(runs), digits=0) if runs else None


def with_devices(
    columns: tuple[str, ...], rows: Sequence[tuple[Cell, ...]], runs: Sequence[Sequence[FinishedRun]]
) -> tuple[tuple[str, ...], tuple[tuple[Cell, ...], ...]]:
    """Columns and rows, with a column that names each row's devices where rows were made on several.

    Args:
        columns: headings.
        rows: one cell for each column.
        runs: those behind each row.
    """
    where = column_of_devices([[finished.run for finished in own] for own in runs])
    if not where:
        return columns, tuple(rows)
    return (*columns, ON), tuple((*row, device or None) for row, device in zip(rows, where, strict=True))


def notes(
    setting: Setting,
    planned: Sequence[RunConfig],
    used: Sequence[FinishedRun],
    *more: str,
    printed: bool = True,
) -> tuple[str, ...]:
    """What a reader must know: how it was measured, what is missing, and what the paper says of its own values.

    Args:
        setting: what was asked for.
        planned: all runs it needs.
        used: those that are shown.
        more: further notes.
        printed: whether values of the paper stand beside the measured ones.
    """
    if not used:
        return (f"None of the {len(planned)} runs is finished: nothing measured is shown.", *more)
    counts = {len(seeds) for _, seeds in seeds_by_row(used)}
    return (
        *caption(setting, planned, used, spread=SPREAD),
        *(("One run per row: its spread over seeds is unknown.",) if counts == {1} else ()),
        *(("Where n = 1 the spread is unknown.",) if 1 in counts and counts != {1} else ()),
        *(
            ("The authors' scripts, which made the printed values, learn each experience for 100 epochs.",)
            if printed and setting.size.epochs != 100
            else ()
        ),
        *_precision(used),
        *more,
    )


def _precision(used: Sequence[FinishedRun]) -> tuple[str, ...]:
    mixed = dict.fromkeys(run.run.label for run in used if run.run.extra.get("precision") == "mixed")
    return (f"Training in mixed precision (bfloat16): {', '.join(mixed)}.",) if mixed else ()
