"""What a reproduced table or figure is: the runs it needs, and how it is made from those that are finished."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.records.groups import Stat
from hypertail.lab.records.runfile import RunFile
from hypertail.lab.reports.tables import MISSING, Table, human_bytes
from hypertail.lab.reproduce.setting import Setting

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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


@dataclass(frozen=True)
class Number:
    """A number of a table: a mean, its spread over seeds (None: unknown), the decimals to show, or that it is bytes."""

    mean: float
    std: float | None = None
    digits: int = 1
    unit: Literal["", "bytes"] = ""

    @classmethod
    def of(cls, values: Sequence[float], digits: int = 1, unit: Literal["", "bytes"] = "") -> Number | None:
        """Mean and sample standard deviation; None of no values."""
        if not values:
            return None
        stat = Stat.of(values)
        return cls(stat.mean, stat.std if unit != "bytes" else None, digits, unit)

    def __str__(self) -> str:
        if self.unit == "bytes":
            return human_bytes(self.mean)
        mean = f"{self.mean:,.{self.digits}f}"
        mean = mean.removeprefix("-") if float(mean.replace(",", "")) == 0 else mean
        return mean if self.std is None else f"{mean} ± {self.std:,.{self.digits}f}"


PAPER = "paper"
Cell = Number | str | None
"""A cell: a number, text, or nothing, which is shown as a dash."""


@dataclass(frozen=True)
class PaperTable:
    """A table with the paper's printed values beside the measured ones.

    Attributes:
        stem: name of its files.
        title: what it shows.
        columns: headings; the first column holds the names of the rows. One that ends in `paper` holds what the paper
            prints for the column before it.
        rows: one cell for each column.
        notes: what a reader must know before comparing.
    """

    stem: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    @property
    def shown(self) -> Table:
        """The same as text, for Markdown, LaTeX and the terminal (`reports.tables`)."""
        rows = tuple(tuple(MISSING if cell is None else str(cell) for cell in row) for row in self.rows)
        columns = tuple(PAPER if name.endswith(f" {PAPER}") else name for name in self.columns)
        return Table(self.title, columns, rows, self.notes)

    def to_csv(self) -> str:
        """Comma-separated values in full precision; a spread has a column of its own after that of its mean."""
        spread = [
            any(isinstance(row[place], Number) and row[place].std is not None for row in self.rows)  # type: ignore[union-attr]
            for place in range(len(self.columns))
        ]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        heads = [[name, f"{name} std"] if wide else [name] for name, wide in zip(self.columns, spread, strict=True)]
        writer.writerow([name for head in heads for name in head])
        for row in self.rows:
            cells: list[str] = []
            for cell, wide in zip(row, spread, strict=True):
                number = cell if isinstance(cell, Number) else None
                cells.append(f"{number.mean:.10g}" if number else str(cell or ""))
                if wide:
                    cells.append(f"{number.std:.10g}" if number and number.std is not None else "")
            writer.writerow(cells)
        return text.getvalue()


@dataclass(frozen=True)
class Output:
    """What a target makes.

    Attributes:
        tables: written as Markdown, CSV and LaTeX, and printed.
        figures: file stem -> draws the figure; called late, so that matplotlib is imported only where it is used.
        captions: file stem of a figure -> its caption and notes, written beside it.
    """

    tables: tuple[PaperTable, ...] = ()
    figures: Mapping[str, Callable[[], Figure]] = field(default_factory=dict)
    captions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def no_runs(setting: Setting) -> tuple[RunConfig, ...]:
    """The plan of a target that is computed directly."""
    return ()


@dataclass(frozen=True)
class Target:
    """A table or figure of the paper.

    Attributes:
        name: as on the command line: `table2`.
        title: what the paper's caption says, in other words.
        sentence: what to see here, for a reader who has not read the paper.
        plan: setting -> the runs it needs.
        render: setting, finished runs -> the tables and figures. Runs of other targets may be among them; a run that is
            missing leaves a gap.
    """

    name: str
    title: str
    sentence: str
    plan: Callable[[Setting], tuple[RunConfig, ...]]
    render: Callable[[Setting, Sequence[FinishedRun]], Output]
