"""Figure 8: the accuracy of the first three experiences over time, by freeze depth, on Split-CIFAR100."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.library import FinishedRun, matching
from hypertail.lab.reports import drawing
from hypertail.lab.reports.figures import chance_of
from hypertail.lab.reports.lines import Line, draw_lines
from hypertail.lab.reproduce.captions import caption
from hypertail.lab.reproduce.setting import Setting
from hypertail.lab.reproduce.target import Output, Target
from hypertail.lab.reproduce.timeline import accuracy_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STREAM = "split-cifar100"
EXPERIENCES = 3
HN, LR, PLAIN = "#2f83d0", "#d0632e", "#848993"

# Depth -> name, strategy, options, colour. The paper shows depth 3; Table 2 has most of the other runs anyway.
_ROWS: Mapping[int, tuple[tuple[str, str, Mapping[str, Any], str], ...]] = {
    depth: (
        ("hypernetwork", f"hn-{depth}", {}, HN),
        ("replay, c = 1", f"lr-{depth}", {}, LR),
        *([("no replay, c = 0", f"lr-{depth}", {"replay_coefficient": 0.0}, PLAIN)] if depth == 3 else []),
    )
    for depth in (2, 3, 4)
}


def plan(setting: Setting) -> tuple[RunConfig, ...]:
    """HN-k and LR-k for k = 2, 3, 4, which Table 2 has too, and LR-3 without replay."""
    return tuple(config for rows in _ROWS.values() for row in rows for config in _configs(setting, row[1], row[2]))


def _configs(setting: Setting, strategy: str, method: Mapping[str, Any]) -> tuple[RunConfig, ...]:
    if not setting.among((STREAM,)) or not setting.chosen((strategy,), (strategy,)):
        return ()
    return setting.config(STREAM, strategy, values=method)


def render(setting: Setting, runs: Sequence[FinishedRun]) -> Output:
    """A row of panels for each depth, a panel for each experience."""
    lines: dict[int, list[list[Line]]] = {}
    used: list[FinishedRun] = []
    for depth, rows in _ROWS.items():
        panels: list[list[Line]] = [[] for _ in range(EXPERIENCES)]
        for name, strategy, method, colour in rows:
            own = matching(runs, _configs(setting, strategy, method))
            used += own
            for j, panel in enumerate(panels):
                if (line := accuracy_line(name, own, j, colour)) is not None:
                    panel.append(line)
        if panels[0]:
            lines[depth] = panels
    if not lines:
        return Output()
    notes = caption(setting, plan(setting), used)
    return Output(
        figures={"figure8": partial(draw, lines, chance_of(used[0].run), notes)},
        captions={"figure8": (TARGET.sentence, *notes)},
    )


def draw(lines: Mapping[int, Sequence[Sequence[Line]]], chance: float, notes: Sequence[str]) -> Figure:
    """The figure.

    Args:
        lines: freeze depth -> for each experience its lines.
        chance: accuracy of guessing, in 0..1.
        notes: small print.
    """
    shown = max(sum(bool(panel) for panel in panels) for panels in lines.values())
    last = int(max(line.x.max() for panels in lines.values() for panel in panels for line in panel))
    height = 1.75
    with drawing.style():
        figure = drawing.new_figure(drawing.WIDTH, len(lines) * height + 0.7)
        grid = figure.subplots(len(lines), shown, squeeze=False)
        for number, (row, (depth, panels)) in enumerate(zip(grid, lines.items(), strict=True), start=1):
            for j, (axes, panel) in enumerate(zip(row, panels, strict=False)):
                drawing.percent_axis(axes, last, chance)
                ends = draw_lines(axes, panel, width=1.5)
                axes.tick_params(labelleft=j == 0)
                if number == 1:
                    axes.set_title(f"accuracy on experience {j + 1}", loc="left")
                if number == len(lines):
                    axes.set_xlabel("experiences learned")
                if j == 0:
                    axes.set_ylabel(f"{depth} of 4 blocks frozen\naccuracy, %")
                if j == shown - 1:
                    drawing.name_line_ends(axes, ends, height - 0.4, width=16, share=0.05)
        drawing.footer(figure, notes)
        return figure


TARGET = Target(
    name="figure8",
    title="Accuracy of the first three experiences over time, by freeze depth",
    sentence=(
        "Each line is the accuracy on one old experience, measured again after every new one: a line that stays level "
        "has forgotten nothing, a line that falls is being overwritten."
    ),
    plan=plan,
    render=render,
)
