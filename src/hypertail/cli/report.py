"""`hypertail report`: one HTML file of finished runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.text import Text
from tyro.conf import Positional, arg

from hypertail.errors import ConfigError
from hypertail.lab.records.runfile import FILE_NAME, find_runs
from hypertail.lab.reports.html import write_report
from hypertail.lab.reports.targets import read_targets


@dataclass(frozen=True)
class Report:
    """One HTML file with the table, figures and details of finished runs."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN [RUN ...]")]
    """run.json files, or folders that hold them."""
    out: Annotated[Path, arg(metavar="FILE")] = Path("report.html")
    """The file to write; in an existing folder, report.html."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace the file if it exists."""


def execute(command: Report, console: Console, line: str) -> None:
    """Write the report.

    Raises:
        ConfigError: the file exists and is not to be replaced.
    """
    out = command.out / "report.html" if command.out.is_dir() else command.out
    if out.exists() and not command.overwrite:
        raise ConfigError(
            f"report {out}",
            required="a file that does not exist yet",
            found="an existing one",
            hint="Use another --out, or --overwrite.",
        )
    paths = command.runs
    folders = [path for path in paths if path.is_dir()]
    bare = [path for path in paths if path in folders and read_targets(path) and not any(path.rglob(FILE_NAME))]
    # tables that no run was needed for leave a folder without any
    runs = find_runs([path for path in paths if path not in bare]) if len(bare) < len(paths) else []
    written = write_report(runs, out, folders=folders)
    console.print(Text(f"report: {written.resolve()}"), soft_wrap=True)
