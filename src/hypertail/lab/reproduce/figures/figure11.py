"""Figure 11: the accuracy of the first eight experiences over time, with and without look-ahead."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.library import FinishedRun, matching
from hypertail.lab.reports import drawing
from hypertail.lab.reports.lines import Line, draw_lines
from hypertail.lab.reproduce.captions import caption
from hypertail.lab.reproduce.setting import Setting
from hypertail.lab.reproduce.target import Output, Target
from hypertail.lab.reproduce.timeline import accuracy_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STREAM = "split-cifar100"
EXPERIENCES = 8
DEPTHS = (3, 4)

# Look-ahead -> name, colour, dashes.
_ORDERS = {"first": ("with look-ahead", "#2f83d0", "-"), "none": ("without", "#d0632e", "--")}


def plan(setting: Setting) -> tuple[RunConfig, ...]:
    """HN-3 and HN-4 of Table 4, with and without look-ahead."""
    return tuple(config for depth in DEPTHS for order in _ORDERS for config in _configs(setting, depth, order))


def _configs(setting: Setting, depth: int, order: str) -> tuple[RunConfig, ...]:
    strategy = f"hn-{depth}"
    if not setting.among((STREAM,)) or not setting.chosen((strategy,), (strategy,)):
        return ()
    return setting.config(STREAM, strategy, values={"lookahead": order})


def render(setting: Setting, runs: Sequence[FinishedRun]) -> Output:
    """A figure for each depth of which there are runs."""
    figures, captions = {}, {}
    for depth in DEPTHS:
        panels: list[list[Line]] = [[] for _ in range(EXPERIENCES)]
        used: list[FinishedRun] = []
        planned: list[RunConfig] = []
        for order, (name, colour, dashes) in _ORDERS.items():
            configs = _configs(setting, depth, order)
            own = matching(runs, configs)
            planned += configs
            used += own
            for j, panel in enumerate(panels):
                if (line := accuracy_line(name, own, j, colour, dashes)) is not None:
                    panel.append(line)
        if not used:
            continue
        stem = f"figure11-hn-{depth}"
        first = f"HN-{depth}; the order of classes and the initialisation are the same for both."
        notes = (first, *caption(setting, planned, used))
        shown = [panel for panel in panels if panel]
        figures[stem] = partial(draw, shown, notes)
        captions[stem] = (TARGET.sentence, *notes)
    return Output(figures=figures, captions=captions)


def draw(panels: Sequence[Sequence[Line]], notes: Sequence[str]) -> Figure:
    """The figure.

    Args:
        panels: for each experience its lines, named alike in all of them.
        notes: small print.
    """
    values = np.concatenate([line.reach.ravel() for panel in panels for line in panel])
    last = int(max(line.x.max() for panel in panels for line in panel))
    names = {line.name: (line.name, line.colour, line.dashes) for panel in panels for line in panel}
    with drawing.style():
        figure, grid, columns = drawing.panels(len(panels), aspect=0.72)
        for j, (axes, panel) in enumerate(zip(grid, panels, strict=True)):
            drawing.zoomed_axis(axes, last, values)
            draw_lines(axes, panel, width=1.6)
            axes.set_title(f"experience {j + 1}", loc="left", weight="bold")
            axes.tick_params(labelleft=j % columns == 0)
            if j % columns == 0:
                axes.set_ylabel("accuracy, %")
            if j + columns >= len(panels):
                axes.set_xlabel("experiences learned")
        drawing.legend_above(figure, list(names.values()))
        drawing.footer(figure, notes)
        return figure


TARGET = Target(
    name="figure11",
    title="Accuracy of the first eight experiences over time, with and without look-ahead",
    sentence=(
        "Look-ahead lets each step feel what it is about to do to older experiences: where the solid line stays above "
        "the dashed one, it helped."
    ),
    plan=plan,
    render=render,
)
