"""`hypertail resume`: go on with runs that were stopped."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from rich.console import Console
from tyro.conf import Positional, arg

from hypertail.errors import ConfigError, HypertailError
from hypertail.lab.experiments.batch import Job, run_batch
from hypertail.lab.experiments.begun import read_begun
from hypertail.lab.experiments.console import ConsoleListener
from hypertail.lab.experiments.directories import OPTIONS, tidy
from hypertail.lab.experiments.place import Place
from hypertail.lab.records.runfile import FILE_NAME, RunFile
from hypertail.lab.reports.tables import to_rich
from hypertail.lab.reports.terminal import print_table
from hypertail.streams.names import shown

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
    """Resume every run; print the table. What cannot be resumed is told and left, and the others go on.

    Raises:
        HypertailError: a run was left.
    """
    # options that cannot be are refused once, not for each run
    Place(device="cpu" if command.device is None else command.device, threads=command.threads).settle()
    found = list(dict.fromkeys(directory for place in command.runs for directory in directories(place)))
    runs: list[RunFile] = []
    left: list[Path] = []
    with ConsoleListener(console) as listener:
        for directory in found:
            try:
                runs += _resumed(command, directory, line, listener)
            except HypertailError as error:
                if len(found) == 1:
                    raise
                left.append(directory)
                listener.print(shown(f"not resumed: {directory}: {error}"))
    for table in to_rich(runs):
        print_table(console, table)
    if left:
        raise ConfigError(
            f"{len(left)} of {len(found)} runs",
            required="runs that can be resumed",
            found=f"what is said above of {', '.join(map(str, left))}",
            hint="Mend that, then resume them.",
        )


def _resumed(command: Resume, directory: Path, line: str, listener: ConsoleListener) -> list[RunFile]:
    if (directory / FILE_NAME).is_file():  # of a finished run nothing else is needed
        run = RunFile.read(directory / FILE_NAME)
        tidy(directory)
        listener.tell(f"{run.label} seed {run.seed}", run, reused=True)
        return [run]
    job, place = _job(command, directory, line)
    return run_batch([job], place.settle(), listener)


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
