"""Accuracy against bytes: what each strategy reaches for what it keeps, and how what it keeps grows with tasks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.library import FinishedRun, matching
from hypertail.lab.reports import drawing
from hypertail.lab.reports.groups import Stat
from hypertail.lab.reports.lines import Line, draw_lines
from hypertail.lab.reports.papertable import Number, PaperTable
from hypertail.lab.reports.points import Point, draw_points
from hypertail.lab.reports.tables import human_bytes
from hypertail.lab.reproduce.captions import caption
from hypertail.lab.reproduce.cells import count, kept, notes, percent
from hypertail.lab.reproduce.growth import bytes_a_task, bytes_after
from hypertail.lab.reproduce.setting import Setting
from hypertail.lab.reproduce.target import Output, Target

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STREAM = "split-cifar100"
KNOWN = (
    *("hn-2", "hn-3", "hn-4", "adapter-2", "adapter-3", "head-4", "lda-4"),
    *("separate-2", "separate-3", "separate-4"),
)
SMOKE = ("hn-3", "hn-4", "head-4", "separate-4")
TASKS = (20, 200, 1000)
"""Tasks for which bytes are counted."""
_PLACES = (20, 30, 50, 100, 200, 300, 500, 1000)
"""Where lines are drawn to: they are straight only where the axes are."""
_DASHES = {2: ":", 3: "--", 4: "-"}


def _strategies(setting: Setting) -> list[str]:
    return setting.chosen(SMOKE if setting.size.digits else KNOWN, KNOWN) if setting.among((STREAM,)) else []


def plan(setting: Setting) -> tuple[RunConfig, ...]:
    """Runs of Table 2."""
    return tuple(config for strategy in _strategies(setting) for config in setting.config(STREAM, strategy))


def render(setting: Setting, runs: Sequence[FinishedRun]) -> Output:
    """A figure of two panels, and a table."""
    found = {strategy: matching(runs, setting.config(STREAM, strategy)) for strategy in _strategies(setting)}
    used = [run for own in found.values() for run in own]
    table = _table(setting, found, used)
    measured = {strategy: own for strategy, own in found.items() if own and percent(own, "aca") is not None}
    if not measured:
        return Output(tables=(table,))
    points = [_point(own) for own in measured.values()]
    lines = [line for own in measured.values() if (line := _line(own)) is not None]
    small = (*_COUNTED, *caption(setting, plan(setting), used, spread=_SPREAD))
    tasks = len(used[0].run.tasks)
    return Output(
        tables=(table,),
        figures={"bytes": partial(draw, points, lines, tasks, small)},
        captions={"bytes": (TARGET.sentence, *small)},
    )


_SPREAD = "Points are means over seeds, bars ± one standard deviation."
_COUNTED = (
    "Bytes: all that is held between tasks, shared or of one task; the frozen trunk, of Adapter, Head and LDA the "
    "frozen model, is not counted.",
    "For more tasks than were learned each further one counts as much as one did: of hypernetworks as in Table 6 and "
    "hypertail info, of others as the runs recorded. How accurate more tasks would be is not measured.",
)


def _point(own: Sequence[FinishedRun]) -> Point:
    aca = percent(own, "aca")
    assert aca is not None
    size = Stat.of([bytes_a_task(run) for run in own]).mean
    return Point(own[0].run.label, size, aca.mean, aca.std, drawing.colour_of(own[0].run))


def _line(own: Sequence[FinishedRun]) -> Line | None:
    sizes = [bytes_after(own[0], tasks) for tasks in _PLACES]
    if None in sizes:
        return None
    first = own[0].run
    dashes = _DASHES.get(first.depth, "-") if isinstance(first.depth, int) else "-"
    if own[0].config.recipe.role == "upper" and dashes == "-":
        dashes = "-."  # a classifier takes the same bytes whoever keeps it: both lines are seen
    values = np.array([sizes], dtype=np.float64)
    return Line(first.label, np.array(_PLACES, dtype=np.float64), values, drawing.colour_of(first), dashes)


def _table(setting: Setting, found: Mapping[str, Sequence[FinishedRun]], used: Sequence[FinishedRun]) -> PaperTable:
    rows = []
    for strategy, own in found.items():
        label = setting.config(STREAM, strategy)[0].label
        each = Number.of([bytes_a_task(run) for run in own], unit="bytes")
        sizes = [_size(own[0], tasks) if own else None for tasks in TASKS]
        rows.append((label, percent(own, "aca"), kept(own), each, *sizes, count(own)))
    return PaperTable(
        stem="bytes",
        title="Accuracy against bytes: what is kept between tasks",
        columns=("strategy", "ACA %", "bytes kept", "a task", *(f"{tasks:,} tasks" for tasks in TASKS), "n"),
        rows=tuple(rows),
        notes=notes(setting, plan(setting), used, *_COUNTED, "Not in the paper.", printed=False),
    )


def _size(run: FinishedRun, tasks: int) -> Number | None:
    size = bytes_after(run, tasks)
    return None if size is None else Number(size, unit="bytes")


def draw(points: Sequence[Point], lines: Sequence[Line], tasks: int, notes: Sequence[str]) -> Figure:
    """The figure.

    Args:
        points: ACA in percent by bytes a task.
        lines: bytes in all by tasks.
        tasks: that were learned.
        notes: small print.
    """
    height = 3.7
    with drawing.style():
        figure = drawing.new_figure(drawing.WIDTH + 1.2, height + 0.9)
        left, right = figure.subplots(1, 2, width_ratios=(1.35, 1.0))
        _accuracy_axis(left, points)
        left.set_title(f"Accuracy by bytes a task, {tasks} tasks", loc="left", weight="bold")
        left.set_xlabel("kept between tasks, divided by the tasks")
        left.set_ylabel("accuracy after the last experience (ACA), %")
        draw_points(left, points, 4.4, height - 0.8)
        _bytes_axis(right, [float(value) for line in lines for value in line.mean])
        right.set_title("Bytes in all by tasks", loc="left", weight="bold")
        right.set_xlabel("tasks")
        drawing.name_line_ends(right, draw_lines(right, lines, width=1.6), height - 0.8, share=0.05)
        drawing.footer(figure, notes)
        return figure


def _accuracy_axis(axes: Axes, points: Sequence[Point]) -> None:
    reach = np.array([point.y + side * (point.spread or 0.0) for point in points for side in (-1, 1)])
    drawing.zoomed_axis(axes, 1, reach)
    low, high = min(point.x for point in points), max(point.x for point in points)
    axes.set_xscale("log")
    axes.set_xlim(low / 2.5, high * 8)
    axes.set_xticks(*_powers(low / 2.5, high * 8))
    axes.minorticks_off()


def _bytes_axis(axes: Axes, values: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(TASKS[0], TASKS[-1])
    axes.set_xticks(TASKS, [f"{tasks:,}" for tasks in TASKS])
    low, high = min(values, default=1.0) / 1.5, max(values, default=1.0) * 1.5
    axes.set_ylim(low, high)
    axes.set_yticks(*_powers(low, high))
    axes.minorticks_off()


def _powers(low: float, high: float) -> tuple[list[float], list[str]]:
    """Powers of ten between two numbers of bytes, and their names: `10 kB`."""
    powers = [10.0**power for power in range(int(np.ceil(np.log10(low))), int(np.floor(np.log10(high))) + 1)]
    return powers, [re.sub(r"\.0+ ", " ", human_bytes(power)) for power in powers]


TARGET = Target(
    name="bytes",
    title="Accuracy against bytes kept, and bytes by tasks (not in the paper)",
    sentence=(
        "Further left costs less, further up is more accurate. On the right a level line is shared by all tasks, a "
        "steep one is paid again for each."
    ),
    plan=plan,
    render=render,
)
