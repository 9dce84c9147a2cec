"""`hypertail rollback`: a bank as it was."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console
from tyro.conf import Positional, arg

from hypertail.bank.store import Kept, Store
from hypertail.cli.bank.place import say
from hypertail.streams.report import plural


@dataclass(frozen=True)
class Rollback:
    """Make a bank like an earlier generation of it (hypertail log lists them); what was forgotten stays forgotten.

    Tasks that it takes out stay on disk, so that a rollback can bring them back; the command `forget` deletes them.
    """

    generation: Annotated[Positional[int], arg(metavar="GENERATION")]
    """Its number."""
    bank: Annotated[Path, arg(metavar="BANK")]
    """Directory of the bank."""


def execute(command: Rollback, console: Console, line: str) -> None:
    """Go back, and print the tasks there are, and those that are left on disk."""
    store = Store.open(command.bank)
    for notice in store.notices:
        say(console, notice)
    manifest = store.rollback(command.generation)
    names = ", ".join(task.name for task in manifest.tasks) or "no tasks"
    say(console, f"generation {manifest.generation}, like {command.generation}: {names}")
    left = [tasks[-1] for tasks in Kept.of(store).absent().values()]
    if left:
        which = f"{plural(len(left), 'task')} that it does not have {'is' if len(left) == 1 else 'are'} still on disk"
        name = shlex.quote(left[0]) if len(left) == 1 else "NAME"
        delete = f"hypertail forget {name} --bank {shlex.quote(str(command.bank))}"
        say(console, f"{which}: {', '.join(left)}; {delete} deletes {'it' if len(left) == 1 else 'one'} for good")
