"""`hypertail rollback`: a bank as it was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console
from tyro.conf import Positional, arg

from hypertail.bank.store import Store
from hypertail.cli.bank.place import say


@dataclass(frozen=True)
class Rollback:
    """Make a bank like an earlier generation of it (hypertail log lists them); what was forgotten stays forgotten."""

    generation: Annotated[Positional[int], arg(metavar="GENERATION")]
    """Its number."""
    bank: Annotated[Path, arg(metavar="BANK")]
    """Directory of the bank."""


def execute(command: Rollback, console: Console, line: str) -> None:
    """Go back, and print the tasks there are."""
    manifest = Store.open(command.bank).rollback(command.generation)
    names = ", ".join(task.name for task in manifest.tasks) or "no tasks"
    say(console, f"generation {manifest.generation}, like {command.generation}: {names}")
