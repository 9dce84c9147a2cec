"""`hypertail forget`: delete a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from rich.console import Console
from tyro.conf import OmitArgPrefixes, Positional, arg

from hypertail.cli.bank.place import BankPlace, say


@dataclass(frozen=True)
class Forget:
    """Delete a task for good, from earlier generations too. What other tasks answer stays equal to the bit.

    Also a task that a rollback took out. The model of the bank is not needed.
    """

    task: Annotated[Positional[str], arg(metavar="TASK")]
    """Name of the task."""
    place: OmitArgPrefixes[BankPlace]
    """The bank and its model."""


def execute(command: Forget, console: Console, line: str) -> None:
    """Forget it, and say whether anything is left."""
    forgotten = command.place.open_without_model(console).forget(command.task)
    say(console, f"{forgotten.name} is forgotten. {forgotten.explanation}")
