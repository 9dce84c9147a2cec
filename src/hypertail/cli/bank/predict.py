"""`hypertail predict`: the task and the class of images."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from tyro.conf import OmitArgPrefixes, Positional, arg

from hypertail.bank import Bank, Prediction
from hypertail.bank.images.pixels import image_files
from hypertail.cli.bank.place import BankPlace, say
from hypertail.errors import DataError
from hypertail.streams.sources.unreadable import OnBadImage


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
    """Print one JSON object a line: path, task, label, probability, known, nearest, and error where one was skipped."""
    on_bad_image: OnBadImage = "error"
    """With an image that cannot be read: end with an error, or skip it and say so in its line."""


BATCH = 64
"""Images that are read and answered together."""


def execute(command: Predict, console: Console, line: str) -> None:
    """Print an answer for each image, batch by batch."""
    bank = command.place.open(console)
    for files in _batches(_files(command.images)):
        try:
            found = _answers(bank, command, files, command.on_bad_image)
        except DataError:
            # those before the bad one have their answers all the same
            with contextlib.suppress(DataError):
                before = _answers(bank, command, files, "skip")
                _show(itertools.takewhile(lambda answer: answer.error is None, before), command, console)
            raise
        _show(found, command, console)


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        yield from image_files(place)


def _batches(files: Iterator[Path]) -> Iterator[list[Path]]:
    while batch := list(itertools.islice(files, BATCH)):
        yield batch


def _answers(bank: Bank, command: Predict, files: list[Path], on_bad_image: OnBadImage) -> list[Prediction]:
    found = bank.predict(files, command.task, batch_size=BATCH, on_bad_image=on_bad_image)
    return [found] if isinstance(found, Prediction) else found


def _show(answers: Iterable[Prediction], command: Predict, console: Console) -> None:
    for answer in answers:
        if command.json:
            print(json.dumps(answer.to_json(), ensure_ascii=False))
        else:
            say(console, str(answer))
    sys.stdout.flush()
