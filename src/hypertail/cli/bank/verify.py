"""`hypertail verify`: every byte of a bank held against its digest."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from tyro.conf import arg

from hypertail.bank.store import Store, verify
from hypertail.cli.bank.place import say


@dataclass(frozen=True)
class Verify:
    """Read every byte of a bank, and say what is damaged and what still works. Ends with status 1 where anything is."""

    bank: Annotated[Path, arg(metavar="BANK")]
    """Directory of the bank."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print JSON."""


def execute(command: Verify, console: Console, line: str) -> None:
    """Print what was found."""
    store = Store.open(command.bank)
    report = verify(store)
    if command.json:
        print(json.dumps(report.to_json(), ensure_ascii=False))
    else:
        for words in (*store.notices, *report.lines()):
            say(console, words)
    if not report.passed:
        sys.exit(1)
