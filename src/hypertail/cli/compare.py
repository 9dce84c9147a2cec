"""`hypertail compare`: which method is best, by how much, and at how many bytes a task."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text
from tyro.conf import Positional, arg

from hypertail.errors import ConfigError
from hypertail.lab.records.runfile import find_runs
from hypertail.lab.reports.tables import Table, rich_table
from hypertail.lab.reports.terminal import print_table
from hypertail.lab.reports.verdict import verdicts
from hypertail.lab.reports.verdicttable import verdict_table
from hypertail.lab.reports.verdictwords import overview, sentences
from hypertail.storage.atomic import write_bytes


@dataclass(frozen=True)
class Compare:
    """Which method is best among finished runs, by how much, and at how many bytes a task."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN [RUN ...]")]
    """run.json files, or folders that hold them."""
    json: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: none)")] = None
    """Also write the verdicts to this file, as JSON."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace the file if it exists."""


def execute(command: Compare, console: Console, line: str) -> None:
    """Print a table and sentences for each set of conditions that runs share.

    Raises:
        ConfigError: the file exists and is not to be replaced.
    """
    if command.json is not None and command.json.exists() and not command.overwrite:
        raise ConfigError(
            f"verdicts {command.json}",
            required="a file that does not exist yet",
            found="an existing one",
            hint="Use another --json, or --overwrite.",
        )
    found = verdicts(find_runs(command.runs))
    tables = [verdict_table(verdict) for verdict in found]
    for verdict, table in zip(found, tables, strict=True):
        console.print(Text(table.title, style="bold"), soft_wrap=True)
        print_table(console, shown(table))
        _print(console, sentences(verdict))
    if len(found) > 1 and (lines := overview(found)):
        console.print("[bold]Best by data[/bold]")
        _print(console, lines)
    console.print("[bold]How to read the tables[/bold]")
    _print(console, dict.fromkeys(note for table in tables for note in table.notes))
    if command.json is not None:
        content = json.dumps([verdict.to_json() for verdict in found], indent=2, ensure_ascii=False)
        # a surrogate, from a name that is not UTF-8, say, has no place in a file
        write_bytes(command.json, f"{content}\n".encode("utf-8", errors="replace"))
        console.print(Text(f"written: {command.json.resolve()}"), soft_wrap=True)


def shown(table: Table) -> RichTable:
    """The table alone: its title and notes are printed apart."""
    found = rich_table(replace(table, title="", notes=()))
    found.columns[0].min_width = 10
    found.columns[-1].no_wrap = False  # words, which may stand below each other
    return found


def _print(console: Console, lines: Iterable[str]) -> None:
    # by textwrap, which keeps a number and its unit in one line
    for line in lines:
        folded = textwrap.fill(line, console.width, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)
        console.print(Text(folded), soft_wrap=True)
    console.print()
