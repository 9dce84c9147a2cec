"""Tables on a terminal, with every word and number whole."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Column, Table

_WIDEST = 1000
"""Columns of a table, with all it holds."""


def print_table(console: Console, table: Table) -> None:
    """Print a table as wide as the terminal; where that would cut a word or number, as wide as its words need.

    Lines that are longer than the terminal are then broken at its edge.
    """
    from rich.text import Text

    fitted, width = _fitted(console, table)
    for line in console.render_lines(fitted, console.options.update(width=width), pad=False):
        console.print(Text.assemble(*((part.text, part.style or "") for part in line)), soft_wrap=True)


def _fitted(console: Console, table: Table) -> tuple[Table, int]:
    """The table with columns no narrower than their longest words, and its width."""
    spans = [_span(console, column) for column in table.columns]
    needs = [most - least for least, most in spans]
    whole = console.measure(table, options=console.options.update(max_width=_WIDEST)).maximum
    room = console.width - (whole - sum(needs))  # beyond the longest words
    if sum(needs) <= room:
        return table, max(whole, console.width)
    shares = [max(0, room) * need // sum(needs) if need else 0 for need in needs]
    fitted = copy.copy(table)
    fitted.columns = [
        replace(column, width=least + share)
        for column, (least, _), share in zip(table.columns, spans, shares, strict=True)
    ]
    return fitted, whole - sum(needs) + sum(shares)


def _span(console: Console, column: Column) -> tuple[int, int]:
    """The width of the longest word of a column, and that of its longest line."""
    from rich.measure import Measurement

    options = console.options.update(max_width=_WIDEST)
    measured = [Measurement.get(console, options, cell) for cell in (column.header, *column.cells)]
    lines = max(cell.maximum for cell in measured)
    words = lines if column.no_wrap else max(cell.minimum for cell in measured)
    least = column.min_width or 0
    return max(words, least), max(lines, least)
