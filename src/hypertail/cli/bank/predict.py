"""`hypertail predict`: the task and the class of images."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from tyro.conf import OmitArgPrefixes, Positional, arg

from hypertail.bank import Prediction
from hypertail.cli.bank.place import BankPlace, say


@dataclass(frozen=True)
class Predict:
    """The task and the class of images, or that they are like nothing that was learned.

    Example: hypertail predict x.jpg y.jpg --bank bank --json
    """

    images: Annotated[Positional[tuple[Path, ...]], arg(metavar="IMAGE [IMAGE ...]")]
    """Image files, or folders of them."""
    place: OmitArgPrefixes[BankPlace]
    """The bank and its model."""
    task: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: inferred)")] = None
    """Task of all images."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print one JSON object a line: path, task, label, probability, known, nearest."""


def execute(command: Predict, console: Console, line: str) -> None:
    """Print an answer for each image."""
    bank = command.place.open(console)
    for place in command.images:
        found = bank.predict(place, command.task)
        for answer in [found] if isinstance(found, Prediction) else found:
            if command.json:
                print(json.dumps(answer.to_json(), ensure_ascii=False))
            else:
                say(console, str(answer))
