"""`hypertail log`: what was done to a bank."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from tyro.conf import arg

from hypertail.bank.store import Entry, Store
from hypertail.cli.bank.place import say


@dataclass(frozen=True)
class Log:
    """What was done to a bank: when, from how many images, by which method."""

    bank: Annotated[Path, arg(metavar="BANK")]
    """Directory of the bank."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print one JSON object a line, with digests and options."""


def execute(command: Log, console: Console, line: str) -> None:
    """Print a line for each change."""
    store = Store.open(command.bank)
    if not command.json:
        for notice in store.notices:
            say(console, notice)
    for entry in store.history():
        if command.json:
            print(json.dumps(asdict(entry), ensure_ascii=False))
            continue
        told = _told(entry)
        words = f"{entry.generation:>4}  {entry.when}  {entry.event} {entry.task or ''}"
        say(console, f"{words.rstrip()}{'  (' + told + ')' if told else ''}")


def _told(entry: Entry) -> str:
    """What happened, in a few words."""
    facts = entry.facts
    if entry.event == "learn":
        return f"{facts.get('method')}, {facts.get('images')} images of {facts.get('classes')} classes"
    if entry.event == "extend":
        return f"{facts.get('images')} images of {facts.get('classes')} classes"
    if entry.event == "rename":
        return f"was {facts.get('was')}"
    if entry.event == "rollback":
        return f"to generation {facts.get('to')}"
    if entry.event == "forget":
        return "exactly" if facts.get("exact") else "its own files; what tasks share learned from it"
    return ""
