"""Figure 12: the cosine between the two gradients of the look-ahead, in the first epoch of the second experience."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.library import FinishedRun, matching
from hypertail.lab.records.runfile import RunFile
from hypertail.lab.reports import drawing
from hypertail.lab.reports.lines import Line, draw_lines
from hypertail.lab.reproduce.captions import caption
from hypertail.lab.reproduce.setting import Setting
from hypertail.lab.reproduce.target import Output, Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STREAM, STRATEGY = "split-cifar100", "hn-4"
_COLOURS = ("#2f83d0", "#d0632e", "#16918b", "#ad50b6", "#8a8030")


def plan(setting: Setting) -> tuple[RunConfig, ...]:
    """HN-4 on the first two experiences, the cosine recorded."""
    if not setting.among((STREAM,)) or not setting.chosen((STRATEGY,), (STRATEGY,)):
        return ()
    return setting.config(STREAM, STRATEGY, values={"lookahead": "first", "record_cosine": True}, experiences=2)


def first_epoch(run: RunFile) -> NDArray[np.float64] | None:
    """The cosine at each step of the first epoch of the second experience; None if it was not recorded."""
    recorded = run.extra.get("diagnostics", {}).get("cosine", [])
    steps = len(recorded) // run.epochs if len(run.tasks) == 2 and run.epochs else 0
    return np.array(recorded[:steps], dtype=np.float64) if steps else None


def render(setting: Setting, runs: Sequence[FinishedRun]) -> Output:
    """A line for each seed: the paper shows that the sign does not depend on class order or initialisation."""
    lines, used = [], []
    for number, finished in enumerate(matching(runs, plan(setting))):
        values = first_epoch(finished.run)
        if values is not None:
            steps = np.arange(1.0, len(values) + 1)
            colour = _COLOURS[number % len(_COLOURS)]
            lines.append(Line(f"seed {finished.run.seed}", steps, values[None], colour))
            used.append(finished)
    if not lines:
        return Output()
    notes = caption(setting, plan(setting), used, spread="One line for each seed.")
    return Output(figures={"figure12": partial(draw, lines, notes)}, captions={"figure12": (TARGET.sentence, *notes)})


def draw(lines: Sequence[Line], notes: Sequence[str]) -> Figure:
    """The figure: a line for each seed, and its mean in its name.

    Args:
        lines: the cosine at each step, in -1..1.
        notes: small print.
    """
    last = int(max(line.x.max() for line in lines))
    height = 3.2
    with drawing.style():
        figure = drawing.new_figure(drawing.WIDTH, height + 0.35)
        axes = figure.subplots()
        axes.set_ylim(-1.02, 1.02)
        axes.set_yticks([-1, -0.5, 0, 0.5, 1], ["−1", "−0.5", "0", "0.5", "1"])
        axes.set_xlim(0.5, last + 0.5)
        axes.set_xticks(drawing.nice_ticks(last))
        axes.axhline(0, color=drawing.INK, linewidth=1.0)
        for y, text in ((0.97, "the two pull the same way"), (-0.97, "they pull against each other")):
            axes.annotate(text, (0.5, y), (3, 0), textcoords="offset points", va="center", fontsize=7.5)
        ends = draw_lines(axes, lines, width=1.4)
        named = [
            end._replace(text=f"{end.text} (mean {line.mean.mean():+.2f})".replace("-", "−"))
            for end, line in zip(ends, lines, strict=True)
        ]
        drawing.name_line_ends(axes, named, height - 0.7)
        axes.set_xlabel("step in the first epoch of the second experience")
        axes.set_ylabel("cosine of g1 and g2")
        drawing.footer(figure, notes)
        return figure


TARGET = Target(
    name="figure12",
    title="Cosine between the gradient for the new experience (g1) and the one for the old ones (g2)",
    sentence=(
        "Below zero, learning the new experience (g1) and keeping the old ones (g2) pull the shared weights in "
        "opposite directions: that conflict is what the penalty has to settle at every step."
    ),
    plan=plan,
    render=render,
)
