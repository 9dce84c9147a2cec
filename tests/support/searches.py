"""Searches on a tiny stream, for tests."""

from __future__ import annotations

import io
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from rich.console import Console

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.place import Place
from hypertail.lab.tuning.plan import Search
from hypertail.lab.tuning.record import Found
from hypertail.lab.tuning.tune import tune
from hypertail.recipes.catalogue import usual_options
from hypertail.streams import Stream
from support.tiny import tiny_stream

SHORT = usual_options("hn").replace(trunk_epochs=1, penalty_weight=0.05, views=1)
BASE = RunConfig("tiny", "hn", 4, epochs=1, batch_size=8, validation=0.25, measure_on="validation", options=SHORT)
PLACE = Place(cache_bytes=1 << 24, speed="full", threads=1, command="hypertail tune ...")
TWO = {"penalty_weight": (0.05, 0.5)}


@lru_cache
def tiny(tasks: int = 3) -> Stream:
    return tiny_stream(tasks, per_class=6, validation=True)


def run(
    out: Path, search: Search, *, stream: Stream | None = None, place: Place = PLACE, **options: Any
) -> tuple[Found, str]:
    """Search quietly: what was found, and what was printed."""
    written = io.StringIO()
    console = Console(file=written, width=200, color_system=None)
    found = tune(search, out, console, place, load=lambda config: stream or tiny(), **options)
    return found, written.getvalue()


def record(out: Path) -> dict[str, Any]:
    """`trials.json` without what differs from one time to the next."""
    content: dict[str, Any] = json.loads((out / "trials.json").read_text())
    for trial in content["trials"]:
        for part in (trial, *trial["runs"]):
            del part["seconds"]
    return content


def runs_done(text: str) -> int:
    """How many runs were done, by what was printed."""
    return text.count(": validation ACA ") + text.count(": given up") + text.count(": failed: ")
