"""`hypertail certify`: whether all tasks still answer as they were learned."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console
from tyro.conf import OmitArgPrefixes, arg

from hypertail.bank.task_info import share_right
from hypertail.cli.bank.place import BankPlace, say
from hypertail.errors import ConfigError
from hypertail.storage.atomic import write_text


@dataclass(frozen=True)
class Certify:
    """Check that every task still answers as it was learned.

    Ends with status 1 where one does not, and with 2 where that could not be found out.

    Example: hypertail certify --bank bank --out certificate.html
    """

    place: OmitArgPrefixes[BankPlace]
    """The bank and its model."""
    budget: Annotated[float, arg(metavar="SHARE")] = 0.0
    """Share of a task's answers that may be other ones, 0 to 1."""
    test: Annotated[tuple[Path, ...], arg(metavar="FOLDER [FOLDER ...]", help_behavior_hint="(default: none)")] = ()
    """Test images of tasks, folders of class folders named like the task."""
    out: Annotated[tuple[Path, ...], arg(metavar="FILE [FILE ...]", help_behavior_hint="(default: none)")] = ()
    """Write the certificate: as JSON (.json), or as a page for people (.html)."""


def execute(command: Certify, console: Console, line: str) -> None:
    """Print a line for each task, and write the files."""
    bank = command.place.open(console)
    certificate = bank.certify(_by_task(command.test), budget=command.budget)
    for check in certificate.checks:
        accuracy = "" if check.accuracy is None else f", {share_right(check.accuracy, check.images, 'test image')}"
        changed = f"{check.answers_changed} of {check.probes} answers changed"
        say(console, f"{check.task}: {check.standing}, {changed}{accuracy}")
    say(console, str(certificate))
    for place in command.out:
        if place.suffix.lower() in (".html", ".htm"):
            write_text(place, certificate.page())
        else:
            write_text(place, json.dumps(certificate.to_json(), indent=2, ensure_ascii=False) + "\n")
    if not certificate.passed:
        sys.exit(1)


def _by_task(folders: Sequence[Path]) -> dict[str, Path]:
    """Name of a task -> its test images."""
    found: dict[str, Path] = {}
    for folder in folders:
        name = folder.resolve().name
        if name in found:
            raise ConfigError(
                f"option --test of task '{name}'",
                required="one folder, named like the task",
                found=f"{found[name]} and {folder}",
                hint="Put the images of both into one folder, or certify twice.",
            )
        found[name] = folder
    return found
