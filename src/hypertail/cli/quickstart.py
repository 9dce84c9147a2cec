"""`hypertail quickstart`: a comparison on embedded data in a few minutes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.text import Text
from tyro.conf import arg

from hypertail.lab.experiments.batch import Job, run_batch
from hypertail.lab.experiments.config import RunConfig, expand
from hypertail.lab.experiments.console import ConsoleListener
from hypertail.lab.experiments.place import Place
from hypertail.lab.reports.html import write_report
from hypertail.lab.reports.tables import to_rich
from hypertail.lab.reports.terminal import print_table

STRATEGIES = ("naive", "ewc", "lr-2", "hn-2", "hn-f", "separate-2")


@dataclass(frozen=True)
class Quickstart:
    """Compare six strategies on real handwritten digits in a few minutes."""

    out: Annotated[Path, arg(metavar="DIR")] = Path("quickstart")
    """Folder of the run directories and the report; made anew each time."""
    epochs: Annotated[int, arg(metavar="N")] = 6
    """Passes over the training data of each experience."""
    seeds: Annotated[tuple[int, ...], arg(metavar="S [S ...]")] = (0,)
    """One run of every strategy for each."""
    threads: Annotated[int, arg(metavar="N")] = 1
    """CPU threads; results of different numbers differ in the last digits."""


def execute(command: Quickstart, console: Console, line: str) -> None:
    """Run the comparison, print it, and write its report."""
    place = Place(threads=command.threads, command=line).settle()
    base = RunConfig(stream="digits", strategy="naive", epochs=command.epochs)
    jobs = [
        Job(config, command.out / config.run_name, f"{config.label} seed {config.seed}", "replace")
        for config in expand(STRATEGIES, (), command.seeds, base)
    ]
    console.print("Five tasks of two handwritten digits each, learned one after another by six strategies.\n")
    with ConsoleListener(console) as listener:
        runs = run_batch(jobs, place, listener)
    for table in to_rich(runs):
        print_table(console, table)
    path = write_report(runs, command.out / "report.html")
    console.print(Text(f"\nreport with pictures: {path.resolve()}"), soft_wrap=True)
