"""`hypertail consolidate`: let the shared hypernetwork take over what adapters have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from rich.console import Console
from tyro.conf import OmitArgPrefixes, arg

from hypertail.cli.bank.place import BankPlace, progress_on, say


@dataclass(frozen=True)
class Consolidate:
    """Let the shared hypernetwork take over what the adapters of its tasks have in common. No image is needed."""

    place: OmitArgPrefixes[BankPlace]
    """The bank and its model."""
    budget: Annotated[float, arg(metavar="SHARE")] = 0.0
    """Share of a task's answers that may change, 0 to 1; beyond it the bank stays as it was."""
    steps: Annotated[int, arg(metavar="N")] = 2000
    """Of Adam."""


def execute(command: Consolidate, console: Console, line: str) -> None:
    """Consolidate, and print the certificate."""
    bank = command.place.open(console)
    with progress_on(console, "consolidation") as progress:
        certificate = bank.consolidate(budget=command.budget, steps=command.steps, progress=progress)
    for check in certificate.checks:
        say(console, f"{check.task}: {check.answers_changed} of {check.probes} answers changed")
    say(console, str(certificate))
