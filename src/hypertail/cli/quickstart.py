"""`hypertail quickstart`: a comparison on embedded data in about two minutes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console
from tyro.conf import arg

from hypertail.environment import use_threads
from hypertail.lab.experiments.batch import quickstart


@dataclass(frozen=True)
class Quickstart:
    """Compare six strategies on real handwritten digits in about two minutes."""

    out: Annotated[Path, arg(metavar="DIR")] = Path("quickstart")
    """Folder of the run directories and the report; made anew each time."""
    epochs: Annotated[int, arg(metavar="N")] = 6
    """Passes over the training data of each experience."""
    seeds: Annotated[tuple[int, ...], arg(metavar="S [S ...]")] = (0,)
    """One run of every strategy for each."""
    threads: Annotated[int, arg(metavar="N")] = 1
    """CPU threads; results of different numbers differ in the last digits."""


def execute(command: Quickstart, console: Console, line: str) -> None:
    """Run the comparison and write its report."""
    use_threads(command.threads)
    quickstart(command.out, command.epochs, command.seeds, console, line)
