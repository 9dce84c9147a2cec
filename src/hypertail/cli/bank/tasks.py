"""`hypertail tasks`: the tasks of a bank, and the bytes they take."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import tyro
from rich.console import Console
from rich.table import Table
from tyro.conf import OmitArgPrefixes

from hypertail.cli.bank.place import BankPlace, say


@dataclass(frozen=True)
class Tasks:
    """List the tasks of a bank, and what the same tasks would take by other means, where the model is at hand."""

    place: OmitArgPrefixes[BankPlace]
    """The bank and its model."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print JSON."""


def execute(command: Tasks, console: Console, line: str) -> None:
    """Print the tasks and the bytes."""
    bank = command.place.open_without_model(console)
    if command.json:
        tasks = [asdict(info) for info in bank.tasks.values()]
        said = {"generation": bank.generation, "tasks": tasks, "summary": bank.summary().to_json() if tasks else None}
        print(json.dumps(said, ensure_ascii=False))
        return
    if not bank.tasks:
        say(console, f"no tasks in {bank.path} yet; hypertail learn FOLDER --bank {bank.path} learns one")
        return
    table = Table("task", "method", "classes", "images", "kB", "held-out images right", "learned")
    for info in bank.tasks.values():
        of = f" of {info.held_out_images}" if info.held_out_images else ""
        right = "not measured" if info.held_out_accuracy is None else f"{100 * info.held_out_accuracy:.1f} %{of}"
        right = "damaged" if info.damaged else right
        classes = ", ".join(info.classes[:6]) + (", ..." if len(info.classes) > 6 else "")
        row = (info.name, info.method, classes, str(info.images), f"{info.nbytes / 1000:.1f}", right, info.learned[:10])
        table.add_row(*row)
    console.print(table)
    summary = bank.summary()
    for words in summary.lines()[1 + len(summary.tasks) :]:
        say(console, words)
