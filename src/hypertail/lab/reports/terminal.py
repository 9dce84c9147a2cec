"""Tables on a terminal, with every number whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WIDEST = 1000
"""Columns of a table, with all it holds."""
_CUT = "…"


def print_table(console: Console, table: Table) -> None:
    """Print a table as wide as the terminal; where that would cut off numbers or names, as wide as it needs.

    Lines that are longer than the terminal are then broken at its edge.
    """
    from rich.text import Text

    options = console.options.update(max_width=_WIDEST)
    for width in (console.width, max(console.width, console.measure(table, options=options).maximum)):
        lines = console.render_lines(table, options.update(width=width), pad=False)
        if not any(_CUT in part.text for line in lines for part in line):
            break
    for line in lines:
        console.print(Text.assemble(*((part.text, part.style or "") for part in line)), soft_wrap=True)
