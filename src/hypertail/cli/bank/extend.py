"""`hypertail extend`: more images for a task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console
from tyro.conf import OmitArgPrefixes, Positional, arg

from hypertail.cli.bank.learn import show
from hypertail.cli.bank.place import BankPlace, progress_on
from hypertail.streams.sources.unreadable import OnBadImage


@dataclass(frozen=True)
class Extend:
    """More images for a task: of its classes, or of new ones. Its old images are not needed.

    Example: hypertail extend bakery photos/new-rolls --bank bank
    """

    task: Annotated[Positional[str], arg(metavar="TASK")]
    """Name of the task."""
    folder: Annotated[Positional[Path], arg(metavar="FOLDER")]
    """Images, FOLDER/CLASS/IMAGE; one class is enough."""
    place: OmitArgPrefixes[BankPlace]
    """The bank and its model."""
    on_bad_image: OnBadImage = "error"
    """With an image that cannot be read: end with an error, or skip and list it."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """Of all that is random."""


def execute(command: Extend, console: Console, line: str) -> None:
    """Extend the task, and print what came of it."""
    bank = command.place.open(console)
    with progress_on(console, command.task) as progress:
        learned = bank.extend(
            command.task,
            command.folder,
            seed=command.seed,
            on_bad_image=command.on_bad_image,
            progress=progress,
        )
    show(console, bank, learned)
