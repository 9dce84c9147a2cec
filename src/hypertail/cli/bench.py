"""`hypertail bench`: seconds per step, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from tyro.conf import arg

from hypertail.lab.benchmark.bench import bench
from hypertail.lab.benchmark.modes import MODELS


@dataclass(frozen=True)
class Bench:
    """Seconds per step of every mode and model, side by side in one process (benchmarks/README.md)."""

    models: Annotated[tuple[str, ...], arg(metavar="NAME [NAME ...]")] = MODELS
    """hn-f, hn-0 to hn-4, lr-0 to lr-4, naive."""
    repeats: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: as time allows)")] = None
    """Turns of each mode."""
    threads: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: torch's choice)")] = None
    """CPU threads."""
    device: Annotated[str, arg(metavar="DEVICE")] = "cpu"
    """cpu, cuda or cuda:N."""
    quick: tyro.conf.FlagCreatePairsOff[bool] = False
    """A smoke test: few repeats, figures not to be trusted."""
    profile: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: none)")] = None
    """Also show where a tuned step of this model spends its time."""
    json: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: none)")] = None
    """Also write everything measured to this file."""


def execute(command: Bench, console: Console, line: str) -> None:
    """Measure, print tables and write the JSON file asked for."""
    bench(
        console,
        models=command.models,
        repeats=command.repeats,
        threads=command.threads,
        device=command.device,
        quick=command.quick,
        profile=command.profile,
        json_file=command.json,
        line=line,
    )
