"""Finished runs, grouped over seeds, as tables: for the terminal, Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypertail.lab.records.runfile import RunFile
from hypertail.lab.reports.groups import QUANTITIES, Group, Stat, group_runs
from hypertail.lab.reports.notes import notes
from hypertail.lab.reports.places import ON, column_of_devices, devices_of

if TYPE_CHECKING:
    from rich.table import Table as RichTable

MISSING = "–"


@dataclass(frozen=True)
class Table:
    """One stream's table, as text: the first column is left-aligned, the others are numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def build_tables(runs: Iterable[RunFile], *, in_columns: bool = True, every_metric: bool = False) -> list[Table]:
    """One table per stream.

    Args:
        runs: finished runs.
        in_columns: preset, epochs and experiences have columns of their own where they vary; otherwise they
            are part of the names.
        every_metric: also the forgetting measured from the best accuracy ever had.
    """
    by_stream: dict[str, list[Group]] = {}
    for group in group_runs(runs):
        by_stream.setdefault(group.first.stream, []).append(group)
    return [_table(stream, groups, in_columns, every_metric) for stream, groups in by_stream.items()]


def to_rich(runs: Iterable[RunFile]) -> list[RichTable]:
    """The tables for `rich.print`; the notes are the caption."""
    return [rich_table(table) for table in build_tables(runs, in_columns=False)]


def rich_table(table: Table) -> RichTable:
    """One table for `rich.print`; the notes are the caption."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(
        title=Text(table.title),
        caption=Text("\n".join(table.notes)),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    shown.add_column(table.columns[0], min_width=12, overflow="fold")
    for column in table.columns[1:]:
        heading = column
        for word in ("bytes", "answers", "learning", "forgetting", "time"):
            heading = heading.replace(f"{word} ", f"{word}\n")
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in table.rows:
        shown.add_row(*map(Text, row))  # Text: names are shown as they are, never read as markup
    return shown


def to_markdown(runs: Iterable[RunFile]) -> str:
    """The tables as GitHub Markdown, with their notes."""
    return "\n".join(map(markdown_table, build_tables(runs)))


def markdown_table(table: Table) -> str:
    """One table as GitHub Markdown, with its notes."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(_escaped(cell, {"\\": "\\\\", "|": "\\|", "<": "&lt;"}) for cell in cells) + " |"

    rule = "|:--|" + "--:|" * (len(table.columns) - 1)
    notes = "".join(f"\n- {note}" for note in table.notes)
    body = "\n".join([line(table.columns), rule, *map(line, table.rows)])
    return f"**{table.title}**\n\n{body}\n{notes}".rstrip() + "\n"


def to_latex(runs: Iterable[RunFile]) -> str:
    r"""The tables as LaTeX (needs `\usepackage{booktabs}`); the notes are comments above each."""
    return "\n".join(map(latex_table, build_tables(runs)))


def latex_table(table: Table) -> str:
    r"""One table as LaTeX (needs `\usepackage{booktabs}`); the notes are comments above it."""
    signs = {
        "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#",
        "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", MISSING: "--",
    }  # fmt: skip

    def line(cells: Iterable[str]) -> str:
        shown = (_escaped(cell, signs) for cell in cells)
        return " & ".join(re.sub(r"^-(?=\d)", "$-$", cell) for cell in shown) + r" \\"

    comments = [f"% {' '.join(text.split())}" for text in (table.title, *table.notes)]
    begin = rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}"
    rows = [r"\toprule", line(table.columns), r"\midrule", *map(line, table.rows), r"\bottomrule"]
    return "\n".join([*comments, begin, *rows, r"\end{tabular}"]) + "\n"


def to_csv(runs: Iterable[RunFile]) -> str:
    """One line per group with the bare numbers: metrics in 0..1, seconds, bytes; empty where undefined."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    fixed = ["stream", "experiences", "label", "strategy", "depth"]
    fixed += ["preset", "epochs", "variant", "n", "seeds", "on"]
    writer.writerow([*fixed, *(f"{q}_{part}" for q in QUANTITIES for part in ("mean", "std"))])
    for group in group_runs(runs):
        run = group.first
        cells: list[object] = [run.stream, len(run.tasks), run.label, run.strategy, run.depth, run.preset]
        cells += [run.epochs, group.variant, len(group.seeds), " ".join(map(str, group.seeds)), devices_of(group.runs)]
        for quantity in QUANTITIES:
            stat = group.stat(quantity)
            cells += [f"{v:.8g}" if v is not None else "" for v in ((stat.mean, stat.std) if stat else (None, None))]
        writer.writerow(cells)
    return text.getvalue()


def human_bytes(size: float) -> str:
    """`size` in decimal units with three significant digits.

    Example:
        >>> human_bytes(0), human_bytes(5_091_508)
        ('0 B', '5.09 MB')
    """
    units = ["kB", "MB", "GB", "TB"]
    if size < 999.5:
        return f"{size:.0f} B"
    size /= 1000
    while size >= 999.5 and len(units) > 1:
        size /= 1000
        units.pop(0)
    digits = 2 if size < 9.995 else 1 if size < 99.95 else 0
    return f"{size:.{digits}f} {units[0]}"


def time_unit(seconds: Iterable[float]) -> tuple[str, float, int]:
    """One unit that suits all of `seconds`: its abbreviation, its length in seconds, decimals to show."""
    longest = max(seconds, default=0.0)
    unit, length = ("h", 3600.0) if longest >= 6 * 3600 else ("min", 60.0) if longest >= 300 else ("s", 1.0)
    return unit, length, 2 if longest / length < 10 else 1


def with_spread(stat: Stat | None, scale: float = 1.0, digits: int = 1) -> str:
    """`mean ± std`, `mean` alone for one value, a dash where there is nothing."""
    if stat is None:
        return MISSING
    mean = f"{stat.mean * scale:.{digits}f}"
    mean = mean.removeprefix("-") if float(mean) == 0 else mean
    return mean if stat.std is None else f"{mean} ± {stat.std * scale:.{digits}f}"


def _escaped(text: str, signs: dict[str, str]) -> str:
    return "".join(signs.get(sign, sign) for sign in " ".join(text.split()))


def _table(stream: str, groups: list[Group], in_columns: bool, every_metric: bool) -> Table:
    shared: list[str] = []
    varying: dict[str, list[str]] = {}
    for column, words, values in (
        ("experiences", "{} experiences", [f"{len(group.first.tasks)}" for group in groups]),
        ("preset", "preset {}", [group.first.preset for group in groups]),
        ("epochs", "{} epochs per experience", [f"{group.first.epochs}" for group in groups]),
    ):
        if len(set(values)) == 1:
            shared.append(words.format(values[0]))
        elif in_columns:
            varying[column] = values
    metrics = {"aca": "ACA %", "forgetting": "forgetting %", "learning_accuracy": "learning accuracy %"}
    if every_metric:
        metrics["forgetting_max"] = "forgetting from best %"
    if any(stat.mean > 0 for group in groups if (stat := group.stat("changed")) is not None):
        metrics["changed"] = "answers changed %"
    if any(group.stat("cil") is not None for group in groups):
        metrics["cil"] = "CIL %"
    unit, length, digits = time_unit(run.seconds for group in groups for run in group.runs)
    where = column_of_devices([group.runs for group in groups])
    rows = []
    for index, group in enumerate(groups):
        kept = group.stat("bytes_kept")
        label = f"{group.first.label} ({group.variant})" if group.variant else group.first.label
        cells = [label if in_columns else group.name, *(values[index] for values in varying.values())]
        cells += [with_spread(group.stat(metric), 100.0) for metric in metrics]
        cells += [with_spread(group.stat("seconds"), 1 / length, digits)]
        cells += [human_bytes(kept.mean) if kept else MISSING, f"{len(group.seeds)}"]
        rows.append((*cells, *where[index : index + 1]))
    columns = ("strategy", *varying, *metrics.values(), f"time ({unit})", "bytes kept", "n", *((ON,) if where else ()))
    title = f"{stream}: {', '.join(shared)}" if shared else stream
    return Table(title, columns, tuple(rows), notes(groups))
