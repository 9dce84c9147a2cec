"""`hypertail report`: one HTML file of finished runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from tyro.conf import Positional, arg

from hypertail.lab.experiments.batch import report


@dataclass(frozen=True)
class Report:
    """One HTML file with the table, figures and details of finished runs."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN [RUN ...]")]
    """run.json files, or folders that hold them."""
    out: Annotated[Path, arg(metavar="FILE")] = Path("report.html")
    """The file to write."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace the file if it exists."""


def execute(command: Report, console: Console, line: str) -> None:
    """Write the report."""
    report(command.runs, command.out, console, overwrite=command.overwrite)
