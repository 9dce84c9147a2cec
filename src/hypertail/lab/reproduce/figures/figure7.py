"""Figure 7: the accuracy of the first experience over time on the noisy stream, latent replay beside hypernetworks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.library import FinishedRun, matching
from hypertail.lab.reports import drawing
from hypertail.lab.reports.figures import chance_of
from hypertail.lab.reports.lines import Line, draw_lines
from hypertail.lab.reproduce.captions import caption
from hypertail.lab.reproduce.seeds import named
from hypertail.lab.reproduce.setting import Setting
from hypertail.lab.reproduce.target import Output, Target
from hypertail.lab.reproduce.timeline import accuracy_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NOISY, CLEAN = "noisy-cifar100", "noisy-cifar100-clean"
DEPTHS = (2, 3, 4)

# A line style for each depth, so that depths can be told apart without colours.
_DASHES = {2: "-", 3: "--", 4: ":"}
_HN, _LR, _QUIET = "#2f83d0", "#d0632e", "#848993"

# Panel -> its lines: stream, family, colour.
_PANELS: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "replay": ((CLEAN, "lr", _QUIET), (NOISY, "lr", _LR)),
    "both": ((NOISY, "lr", _LR), (NOISY, "hn", _HN)),
}


def plan(setting: Setting) -> tuple[RunConfig, ...]:
    """LR-k on the noisy and the clean stream, HN-k on the noisy one, k = 2, 3, 4, measured within experiences."""
    kinds = dict.fromkeys((stream, family) for rows in _PANELS.values() for stream, family, _ in rows)
    return tuple(
        config for depth in DEPTHS for stream, family in kinds for config in _configs(setting, stream, family, depth)
    )


def _configs(setting: Setting, stream: str, family: str, depth: int) -> tuple[RunConfig, ...]:
    strategy = f"{family}-{depth}"
    if not setting.among((stream,)) or not setting.chosen((strategy,), (strategy,)):
        return ()
    return recorded(setting, stream, strategy)


def recorded(setting: Setting, stream: str, strategy: str) -> tuple[RunConfig, ...]:
    """The runs of one strategy, measured ten times an experience, to show what happens within it."""
    return setting.config(stream, strategy, eval_every=max(1, setting.size.epochs // 10))


def render(setting: Setting, runs: Sequence[FinishedRun]) -> Output:
    """Three panels: replay with and without noise, replay and hypernetworks, and what each has lost."""
    used: dict[int, FinishedRun] = {}
    panels: dict[str, list[Line]] = {"replay": [], "both": [], "lost": []}
    for panel, rows in _PANELS.items():
        for stream, family, colour in rows:
            for depth in DEPTHS:
                configs = _configs(setting, stream, family, depth)
                own = [found for one in configs if (found := _best(runs, one)) is not None]
                used |= {id(finished): finished for finished in own}
                words = "clean" if stream == CLEAN else "noisy"
                name = f"{family.upper()}-{depth}{f', {words}' if panel == 'replay' else ''}"
                line = accuracy_line(name, own, 0, colour, _DASHES[depth])
                lost = accuracy_line(name, own, 0, colour, _DASHES[depth], lost=True)
                if line is None or lost is None:
                    continue
                panels[panel].append(line)
                if panel == "both":
                    panels["lost"].append(lost)
    if not used:
        return Output()
    drawn = list(used.values())
    # measured within experiences or not, a run is shown
    planned = [replace(config, eval_every=0) for config in plan(setting)]
    notes = (*caption(setting, planned, drawn), *_coarse(plan(setting), drawn))
    noises = tuple(task.name for task in next((f.run for f in drawn if f.run.stream == NOISY), drawn[0].run).tasks)
    return Output(
        figures={"figure7": partial(draw, panels, noises, chance_of(drawn[0].run), notes)},
        captions={"figure7": (TARGET.sentence, *notes)},
    )


def _best(runs: Sequence[FinishedRun], config: RunConfig) -> FinishedRun | None:
    """The run; one of Table 1, measured after each experience only, is better than none."""
    found = matching(runs, [config]) or matching(runs, [replace(config, eval_every=0)])
    return found[0] if found else None


def _coarse(planned: Sequence[RunConfig], drawn: Sequence[FinishedRun]) -> tuple[str, ...]:
    """Which lines have a point for each experience only, since a run of theirs was not measured within."""
    coarse = [config for config in planned if not matching(drawn, [config])]
    shown = [config for config in coarse if matching(drawn, [replace(config, eval_every=0)])]
    names = dict.fromkeys(named(config, planned) for config in shown)
    return (f"Measured after each experience only, not within: {', '.join(names)}.",) if names else ()


_TITLES = {
    "replay": "Latent replay, c = 1:\naccuracy on experience 1, %",
    "both": "Noisy stream:\naccuracy on experience 1, %",
    "lost": "Noisy stream:\npoints lost on experience 1",
}


def draw(panels: Mapping[str, Sequence[Line]], noises: Sequence[str], chance: float, notes: Sequence[str]) -> Figure:
    """The figure.

    Args:
        panels: `replay`, `both` and `lost` -> lines over experiences learned.
        noises: what was done to the images of each experience.
        chance: accuracy of guessing, in 0..1.
        notes: small print.
    """
    shown = {name: lines for name, lines in panels.items() if lines}
    last = int(max(line.x.max() for lines in shown.values() for line in lines))
    height = 3.4
    with drawing.style():
        figure = drawing.new_figure(drawing.WIDTH + 1.2, height + 0.5)
        grid = figure.subplots(1, len(shown), squeeze=False)[0]
        for axes, (name, lines) in zip(grid, shown.items(), strict=True):
            if name == "lost":
                _lost_axis(axes, last, lines)
            else:
                drawing.percent_axis(axes, last, chance)
            ends = draw_lines(axes, lines, width=1.6)
            axes.set_title(_TITLES[name], loc="left")
            axes.set_xticks(range(1, last + 1), [str(i + 1) for i in range(last)])
            axes.set_xlabel("experiences learned")
            drawing.name_line_ends(axes, ends, height - 0.95, width=16, share=0.06)
        named = ", ".join(f"{number} {noise}" for number, noise in enumerate(noises, start=1))
        drawing.footer(figure, (f"Images of the experiences: {named}.", *notes))
        return figure


def _lost_axis(axes: Axes, last: int, lines: Sequence[Line]) -> None:
    low = min(min(float(np.nanmin(line.reach)) for line in lines), 0.0)
    high = max(max(float(np.nanmax(line.reach)) for line in lines), 4.0)
    axes.set_xlim(0.7, max(last, 2) + 0.3)
    axes.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    axes.axhline(0, color=drawing.INK, linewidth=1.0)


TARGET = Target(
    name="figure7",
    title="Accuracy of the first experience over time on a noisy stream, latent replay beside hypernetworks",
    sentence=(
        "Later experiences hold solarized, blurred and grey images. Lines that fall show that learning those disturbs "
        "what is known of the clean first experience."
    ),
    plan=plan,
    render=render,
)
