"""`hypertail resume`: go on with runs that were stopped."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from rich.console import Console
from tyro.conf import Positional, arg

from hypertail.errors import ConfigError
from hypertail.lab.experiments.batch import Job, run_batch
from hypertail.lab.experiments.begun import read_begun
from hypertail.lab.experiments.console import ConsoleListener
from hypertail.lab.experiments.directories import OPTIONS
from hypertail.lab.experiments.place import Place
from hypertail.lab.records.runfile import RunFile
from hypertail.lab.reports.tables import to_rich
from hypertail.lab.reports.terminal import print_table

_AS_BEGUN = "(default: as the run began)"


@dataclass(frozen=True)
class Resume:
    """Go on with runs that were stopped, each with the options that it began with.

    Example: hypertail resume runs/hn-3-seed0
    """

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN [RUN ...]", help_behavior_hint="")]
    """Run directories, or folders of them."""
    data: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint=_AS_BEGUN)] = None
    """Folder of local datasets, where it has moved."""
    device: Annotated[str | None, arg(metavar="DEVICE", help_behavior_hint=_AS_BEGUN)] = None
    """auto (a GPU if there is one), cpu, cuda or cuda:N."""
    threads: Annotated[int | None, arg(metavar="N", help_behavior_hint=_AS_BEGUN)] = None
    """CPU threads; results of different numbers differ in the last digits."""


def execute(command: Resume, console: Console, line: str) -> None:
    """Resume every run; print the table."""
    runs: list[RunFile] = []
    jobs = [_job(command, directory, line) for place in command.runs for directory in directories(place)]
    with ConsoleListener(console) as listener:
        for job, place in jobs:
            runs += run_batch([job], place.settle(), listener)
    for table in to_rich(runs):
        print_table(console, table)


def directories(place: Path) -> list[Path]:
    """The run directories that `place` is or holds.

    Raises:
        ConfigError: there is none.
    """
    if (place / OPTIONS).is_file():
        return [place]
    found = sorted(path.parent for path in place.glob(f"*/{OPTIONS}")) if place.is_dir() else []
    if not found:
        raise ConfigError(
            f"no run at {place}",
            required=f"a run directory, with {OPTIONS} in it, or a folder of some",
            found="a folder without" if place.is_dir() else "a file" if place.exists() else "nothing there",
            hint="A run that was stopped before it wrote anything is started anew with the command that began it.",
        )
    return found


def _job(command: Resume, directory: Path, line: str) -> tuple[Job, Place]:
    begun = read_begun(directory)
    place = begun.place or Place(command=line)
    if command.data is not None:
        place = replace(place, data=replace(place.data, root=command.data))
    device = place.device if command.device is None else command.device
    threads = begun.threads if command.threads is None else command.threads
    place = replace(place, device=device, threads=threads)
    return Job(begun.config, directory, f"{begun.config.label} seed {begun.config.seed}"), place


def stopped(given: Sequence[str]) -> str:
    """What to type after an interrupted `hypertail given...`."""
    return f"stopped; what was learned is saved; to continue: {shlex.join(['hypertail', *given])}"
