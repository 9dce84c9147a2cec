"""`hypertail rename`: another name for a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from rich.console import Console
from tyro.conf import OmitArgPrefixes, Positional, arg

from hypertail.cli.bank.place import BankPlace, say


@dataclass(frozen=True)
class Rename:
    """Call a task by another name; nothing else changes. The model of the bank is not needed."""

    task: Annotated[Positional[str], arg(metavar="TASK")]
    """Name of the task."""
    new: Annotated[Positional[str], arg(metavar="NEW")]
    """Its new name."""
    place: OmitArgPrefixes[BankPlace]
    """The bank and its model."""


def execute(command: Rename, console: Console, line: str) -> None:
    """Rename it."""
    command.place.open_without_model(console).rename(command.task, command.new)
    say(console, f"{command.task} is called {command.new} now")
