"""What the benchmark found: ratios, targets, JSON and tables."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.table import Table

from hypertail.lab.bench_memory import PeakMemory
from hypertail.lab.bench_subjects import TRUNK_ALONE, WITH_TRUNK
from hypertail.lab.bench_timing import Timing
from hypertail.lab.environment import hardware, versions
from hypertail.lab.tables import human_bytes

FORMAT, VERSION = "hypertail-bench", 1
MODES = {
    "floor": "bare loop",
    "tuned": "tuned",
    "printed": "printed",
    "released": "released",
    WITH_TRUNK: "released + trunk",
    TRUNK_ALONE: "trunk alone",
}
"""Mode -> its name in tables."""

AT_LEAST_TO_RELEASED = {"HN-F": 8.0, "HN-2": 15.0, "HN-3": 25.0, "HN-4": 30.0}
AT_MOST_TO_FLOOR = {"HN-2": 1.5, "HN-3": 1.5, "HN-4": 1.5}
AT_MOST_BY_TASKS = 1.2
AT_MOST_NAIVE_EPOCH = 1.03

Bound = Literal["at least", "at most"]


@dataclass(frozen=True)
class Measured:
    """Everything the benchmark measured.

    Attributes:
        seconds: of a step, by mode and model.
        by_tasks: seconds of a tuned step of `by_tasks_model`, by number of tasks.
        epochs: seconds of an epoch of naive by `trainer` and by a `bare` loop.
        memory: peak memory by mode and model.
        evaluation: seconds to evaluate all tasks on cached inputs, by model (tuned).
        steps_per_epoch: optimizer steps of an epoch, to which the evaluation is compared.
        settings: sizes and options of the measurement.
        took: seconds of the whole.
    """

    seconds: dict[str, dict[str, Timing]]
    by_tasks: dict[int, Timing]
    by_tasks_model: str
    epochs: dict[str, Timing]
    memory: dict[str, dict[str, PeakMemory]]
    evaluation: dict[str, Timing]
    steps_per_epoch: int
    settings: dict[str, Any]
    took: float

    def ratio(self, mode: str, to: str) -> dict[str, float]:
        """Median of `mode` over median of `to`, for the models that have both."""
        above, below = self.seconds.get(mode, {}), self.seconds.get(to, {})
        return {model: above[model].median / below[model].median for model in above if model in below}

    @property
    def ratio_uncached(self) -> dict[str, float]:
        """Released with its trunk over tuned with its trunk: what is left where features are not kept."""
        whole, tuned = self.seconds.get(WITH_TRUNK, {}), self.seconds.get("tuned", {})
        trunk = self.seconds.get(TRUNK_ALONE, {})
        return {model: whole[model].median / (tuned[model].median + trunk[model].median) for model in trunk}

    @property
    def by_tasks_ratio(self) -> float | None:
        """Step at 1,000 tasks over step at 20."""
        few, many = self.by_tasks.get(20), self.by_tasks.get(1000)
        return None if few is None or many is None else many.median / few.median

    @property
    def epoch_ratio(self) -> float:
        """The trainer's epoch over the bare loop's."""
        return self.epochs["trainer"].median / self.epochs["bare"].median


@dataclass(frozen=True)
class Target:
    """A bound, what was measured (None: not measured this time) and whether it holds."""

    name: str
    bound: Bound
    limit: float
    measured: float | None

    @property
    def met(self) -> bool | None:
        """None where nothing was measured."""
        if self.measured is None:
            return None
        return self.measured >= self.limit if self.bound == "at least" else self.measured <= self.limit

    def to_json(self) -> dict[str, Any]:
        """By name."""
        facts = {"name": self.name, "bound": self.bound, "limit": self.limit}
        return facts | {"measured": self.measured, "met": self.met}


def targets(measured: Measured) -> list[Target]:
    """Every target beside its measurement."""
    released, floor = measured.ratio("released", "tuned"), measured.ratio("tuned", "floor")
    with_trunk = measured.ratio(WITH_TRUNK, "tuned")
    found = []
    for model, limit in AT_LEAST_TO_RELEASED.items():
        found.append(Target(f"{model}: released / tuned, on features", "at least", limit, released.get(model)))
        if model != "HN-F":
            found.append(Target(f"{model}: released + trunk / tuned", "at least", limit, with_trunk.get(model)))
    found += [
        Target(f"{model}: tuned / bare loop of its tail", "at most", limit, floor.get(model))
        for model, limit in AT_MOST_TO_FLOOR.items()
    ]
    step = f"{measured.by_tasks_model}: step at 1,000 tasks / at 20"
    epoch = "Naive: epoch of the trainer / of a bare loop"
    found.append(Target(step, "at most", AT_MOST_BY_TASKS, measured.by_tasks_ratio))
    found.append(Target(epoch, "at most", AT_MOST_NAIVE_EPOCH, measured.epoch_ratio))
    return found


def facts(measured: Measured, device: torch.device, line: str = "") -> dict[str, Any]:
    """What the JSON file holds; all times in seconds."""
    seconds = measured.seconds
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "seconds_per_step": {mode: {m: t.median for m, t in own.items()} for mode, own in seconds.items()},
        "spread": {mode: {m: t.to_json() for m, t in own.items()} for mode, own in seconds.items()},
        "ratio_to_released": measured.ratio("released", "tuned"),
        "ratio_to_released_with_trunk": measured.ratio(WITH_TRUNK, "tuned"),
        "ratio_to_released_uncached": measured.ratio_uncached,
        "ratio_to_floor": measured.ratio("tuned", "floor"),
        "step_by_tasks": {str(tasks): timing.median for tasks, timing in measured.by_tasks.items()},
        "step_by_tasks_spread": {str(tasks): timing.to_json() for tasks, timing in measured.by_tasks.items()},
        "step_by_tasks_model": measured.by_tasks_model,
        "naive_epoch": {name: timing.to_json() for name, timing in measured.epochs.items()}
        | {"ratio": measured.epoch_ratio},
        "peak_memory": {mode: {m: peak.to_json() for m, peak in own.items()} for mode, own in measured.memory.items()},
        "evaluation": {
            model: timing.to_json() | {"epoch_of_steps": measured.steps_per_epoch * seconds["tuned"][model].median}
            for model, timing in measured.evaluation.items()
        },
        "targets": [target.to_json() for target in targets(measured)],
        "settings": measured.settings,
        "seconds": measured.took,
        "versions": versions(),
        "hardware": hardware(device),
        "command": line,
    }


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write the file, making its folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


def print_measured(measured: Measured, content: dict[str, Any], console: Console) -> None:
    """All tables."""
    machine, used = content["hardware"], content["settings"]
    console.print(
        f"{machine.get('gpu', machine['cpu'])}, {machine['threads']} threads, torch {content['versions']['torch']}; "
        f"batch {used['batch']}, experience {used['tasks']} of {used['tasks']}; {measured.took:.0f} s in all",
        highlight=False,
    )
    if used["quick"]:
        console.print("--quick: few repeats on small data; these figures mean little.")
    tables = {
        "ms per step: median ± half the interquartile range": _steps(measured),
        "released / tuned (of printed: released / printed); n: steps of tuned, of released": _ratios(measured),
        f"step against the number of tasks ({measured.by_tasks_model}, tuned)": _by_tasks(measured),
        "whole epochs and evaluation": _epochs(measured),
        "peak memory on top of Python and torch, each in a process of its own": _memory(measured),
        "targets": _targets(measured),
    }
    for title, table in tables.items():
        if table.row_count:
            console.print(f"\n{title}", highlight=False, style="italic")
            console.print(table)


def _table(*columns: str) -> Table:
    table = Table(header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _ms(timing: Timing | None) -> str:
    if timing is None:
        return ""
    median, half = 1000 * timing.median, 500 * (timing.q3 - timing.q1)
    digits = 0 if median >= 100 else 1 if median >= 10 else 2
    return f"{median:.{digits}f} ±{half:.{digits}f}"


def _models(measured: Measured) -> list[str]:
    return list(measured.seconds["tuned"])


def _steps(measured: Measured) -> Table:
    table = _table("", *MODES.values())
    for model in _models(measured):
        table.add_row(model, *(_ms(measured.seconds.get(mode, {}).get(model)) for mode in MODES))
    return table


def _ratios(measured: Measured) -> Table:
    columns = ("on features", "+ its trunk", "+ both trunks", "printed on features", "tuned to bare loop", "n")
    table = _table("", *columns)
    ratios = [
        measured.ratio("released", "tuned"),
        measured.ratio(WITH_TRUNK, "tuned"),
        measured.ratio_uncached,
        measured.ratio("released", "printed"),
        measured.ratio("tuned", "floor"),
    ]
    for model in _models(measured):
        counts = ", ".join(str(measured.seconds[mode][model].n) for mode in ("tuned", "released"))
        table.add_row(model, *(f"{own[model]:.2f}" if model in own else "" for own in ratios), counts)
    return table


def _by_tasks(measured: Measured) -> Table:
    table = _table("tasks", "ms", "n")
    for tasks, timing in measured.by_tasks.items():
        table.add_row(f"{tasks:,}", _ms(timing), str(timing.n))
    return table


def _epochs(measured: Measured) -> Table:
    table = _table("", "seconds", "compared with", "seconds", "ratio", "n")
    trainer, bare = measured.epochs["trainer"], measured.epochs["bare"]
    row = (f"{trainer.median:.2f}", "bare loop", f"{bare.median:.2f}", *_counted(trainer, bare.median))
    table.add_row("Naive, epoch of the trainer", *row)
    for model, timing in measured.evaluation.items():
        epoch = measured.steps_per_epoch * measured.seconds["tuned"][model].median
        row = (f"{timing.median:.2f}", f"{measured.steps_per_epoch} steps", f"{epoch:.2f}", *_counted(timing, epoch))
        table.add_row(f"{model}, all tasks evaluated", *row)
    return table


def _counted(timing: Timing, other: float) -> tuple[str, str]:
    return f"{timing.median / other:.3f}", str(timing.n)


def _memory(measured: Measured) -> Table:
    modes = list(measured.memory)
    table = _table("", *(MODES[mode] for mode in modes))
    for model in measured.memory[modes[0]] if modes else ():
        table.add_row(model, *(human_bytes(measured.memory[mode][model].added) for mode in modes))
    return table


def _targets(measured: Measured) -> Table:
    table = _table("", "bound", "measured", "met")
    for target in targets(measured):
        value = "not measured" if target.measured is None else f"{target.measured:.2f}"
        met = {True: "yes", False: "no", None: ""}[target.met]
        table.add_row(target.name, f"{target.bound} {target.limit:g}", value, met)
    return table
