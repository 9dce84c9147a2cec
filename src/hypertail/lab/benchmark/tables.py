"""The benchmark's tables for the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from hypertail.lab.benchmark.modes import MODES
from hypertail.lab.benchmark.profile import Profile
from hypertail.lab.benchmark.report import Measured, ratios, targets
from hypertail.lab.benchmark.timing import Timing
from hypertail.lab.reports.tables import human_bytes

TO_RELEASED = {
    "on features": "ratio_to_released{}",
    "(float32)": "ratio_to_released{}_float32",
    "with trunk / features kept": "ratio_to_released_with_trunk{}",
    "with trunk / with trunk": "ratio_to_released_uncached{}",
}
TO_FLOOR = {
    "float32 loop": "ratio_to_floor{}",
    "loop at same precision": "ratio_to_floor{}_same_precision",
    "both float32": "ratio_to_floor{}_float32",
    "output term's share": "{}output_term_share",
}
"""Columns of the tables of ratios, and the keys that fill them once a suffix says which step."""
STEPS = {"weight-space": "_weight_space", "tuned": "", "printed": "_printed"}
"""Steps that have a row for each model where they were measured, and the suffix of their keys."""


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
    by_tasks = measured.precision[measured.by_tasks_model]
    tables = {
        "ms per step: median ± half the interquartile range": _steps(measured),
        "released / step": _ratios(measured, TO_RELEASED),
        "step / bare loop": _ratios(measured, TO_FLOOR),
        f"step against the number of tasks ({measured.by_tasks_model}, tuned, {by_tasks})": _by_tasks(measured),
        "whole epochs and evaluation": _epochs(measured),
        "peak memory on top of Python and torch, each in a process of its own": _memory(measured),
        "targets": _targets(measured),
    }
    if measured.profile is not None:
        tables[measured.profile.title] = _profile(measured.profile)
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


def _steps(measured: Measured) -> Table:
    """A row for each mode: there are more modes than models, and their names are longer."""
    models = measured.seconds["tuned"]
    table = _table("", *(f"{model}\n{measured.precision[model]}" for model in models))
    for mode, own in measured.seconds.items():
        table.add_row(MODES[mode].title, *(_ms(own.get(model)) for model in models))
    return table


def _ratios(measured: Measured, columns: dict[str, str]) -> Table:
    found = ratios(measured) | {"output_term_share": measured.output_term_share}
    table = _table("", *columns)
    table.columns[0].no_wrap = True
    for model in measured.seconds["tuned"]:
        for step, suffix in STEPS.items():
            cells = [found.get(key.format(suffix), {}).get(model) for key in columns.values()]
            if any(cell is not None for cell in cells):
                table.add_row(f"{model} {step}", *("" if cell is None else f"{cell:.2f}" for cell in cells))
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
    table = _table("", *(MODES[mode].title for mode in modes))
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


def _profile(profile: Profile) -> Table:
    table = _table("operator", "ms", "share", "calls")
    for operator in profile.operators:
        calls = f"{operator.calls:g}" if operator.calls else ""
        table.add_row(operator.name, f"{1000 * operator.seconds:.2f}", f"{profile.share(operator):.1%}", calls)
    return table
