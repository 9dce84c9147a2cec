"""Tables of typed cells, with the paper's printed values beside the measured ones."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hypertail.lab.reports.groups import Stat
from hypertail.lab.reports.tables import MISSING, Table, human_bytes


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
