"""Tables on a narrow terminal: nothing is cut off, and nothing is wider than it must be."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from hypertail.lab.reports.tables import Table, rich_table
from hypertail.lab.reports.terminal import print_table

NUMBERS = tuple(f"{10 * place}.0 ± {place}.5" for place in range(1, 8))
TABLE = Table(
    "A title", ("strategy", *(f"metric{place} %" for place in range(1, 8))), (("HN-3", *NUMBERS),), ("Note.",)
)


def printed(table: Table, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_table(console, rich_table(table))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_every_cell_is_whole(width: int) -> None:
    text = printed(TABLE, width)
    (row,) = (line for line in text.splitlines() if "HN-3" in line)
    assert row.split("  ")[0].strip() == "HN-3"
    assert all(cell in row for cell in NUMBERS)
    assert "Note." in text
    assert "…" not in text


def test_a_table_that_fits_is_no_wider_than_the_terminal() -> None:
    long = Table("T", ("strategy", "ACA %"), (("HN-3 (" + "tail-start pretrained, " * 4 + ")", "80.0"),), ())
    assert max(map(len, printed(long, 60).splitlines())) <= 60  # names fold
