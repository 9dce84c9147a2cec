"""`hypertail export`: a task as a plain model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from tyro.conf import OmitArgPrefixes, Positional, arg

from hypertail.cli.bank.place import BankPlace, say
from hypertail.errors import ConfigError


@dataclass(frozen=True)
class Export:
    """Write a task as a plain model, with a JSON file that says how to use it.

    Example: hypertail export bakery --bank bank --format onnx
    """

    task: Annotated[Positional[str], arg(metavar="TASK")]
    """Name of the task; "all" writes one ONNX graph for all tasks, into a folder, unless a task is called so."""
    place: OmitArgPrefixes[BankPlace]
    """The bank and its model."""
    format: Literal["onnx", "pt2", "safetensors"] | None = None
    """Of the file; by default that of --out, or onnx."""
    out: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: TASK.FORMAT)")] = None
    """File to write, or a folder for all tasks."""
    replace: tyro.conf.FlagCreatePairsOff[bool] = False
    """Write over files that are there."""


def execute(command: Export, console: Console, line: str) -> None:
    """Write the files, and print where."""
    bank = command.place.open(console)
    task = command.task
    if task == "all" and task not in bank.tasks:
        folder = bank.export_all(command.out or Path("all-tasks"), replace=command.replace)
        say(console, f"{folder / 'graph.onnx'}: {len(bank.tasks)} tasks; {folder / 'tasks.json'} says how to feed them")
        return
    kind = command.format or (None if command.out and command.out.suffix else "onnx")
    out = command.out or Path(f"{_plain(task)}.{kind}")
    written = bank.export(task, out, kind, replace=command.replace)
    say(console, f"{written} ({written.stat().st_size:,} bytes) and {written.name}.json beside it")


def _plain(name: str) -> str:
    if not name or any(letter in name for letter in "/\\") or name.startswith("."):
        raise ConfigError(
            f"file name for task '{name}'",
            required="--out, where the name of the task is no file name",
            found=f"'{name}'",
            hint="Give --out FILE.",
        )
    return name
