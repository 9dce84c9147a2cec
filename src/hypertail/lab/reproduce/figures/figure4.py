"""Figure 4: how well a second experience is learned on top of frozen blocks of the first, by distance and depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.library import FinishedRun, matching
from hypertail.lab.reports import drawing
from hypertail.lab.reports.figures import chance_of
from hypertail.lab.reports.lines import Line, draw_lines
from hypertail.lab.reproduce.captions import caption
from hypertail.lab.reproduce.setting import Setting
from hypertail.lab.reproduce.target import Output, Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEPTHS = (0, 1, 2, 3, 4)

_NAMES = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "gtsrb": "GTSRB",
    "svhn": "SVHN",
    "fashion-mnist": "Fashion-MNIST",
}

PLAIN: Mapping[str, Any] = {
    "trunk_training": "with-tail",
    "standardise": False,
    "trunk_epochs": None,
    "replay_coefficient": 0.0,
    "buffer": 1,
    "replay_batch": 1,
}
"""Switches that make of latent replay what section 4.1 trains, whatever the preset: one model, trained on e_1; its stem
and first k blocks frozen; the rest trained on, from where it is, on e_2. Nothing is replayed. (The buffer cannot be
empty: its one exemplar has no weight in the loss.)"""


@dataclass(frozen=True)
class Pair:
    """Two datasets, the first five classes from one, then five from the other."""

    first: str
    second: str
    similar: bool
    colour: str

    @property
    def stream(self) -> str:
        """The name of the stream."""
        return f"pair:{self.first},{self.second}"

    @property
    def name(self) -> str:
        """For the figure."""
        return f"{_NAMES[self.first]} → {_NAMES[self.second]}"


# The paper's three panels, and the pair its text begins with.
PAIRS = (
    Pair("cifar10", "cifar100", True, "#16918b"),
    Pair("gtsrb", "cifar100", False, "#d0632e"),
    Pair("fashion-mnist", "cifar10", False, "#ad50b6"),
    Pair("svhn", "fashion-mnist", False, "#2f83d0"),
)


def plan(setting: Setting) -> tuple[RunConfig, ...]:
    """A plain model on each pair, for 0 to 4 frozen blocks."""
    return tuple(config for pair in PAIRS for depth in DEPTHS for config in _configs(setting, pair, depth))


def _configs(setting: Setting, pair: Pair, depth: int) -> tuple[RunConfig, ...]:
    strategy = f"lr-{depth}"
    if not setting.among((pair.stream,)) or not setting.chosen((strategy,), (strategy,)):
        return ()
    return setting.config(pair.stream, strategy, values=PLAIN)


def second_accuracy(run: FinishedRun) -> float:
    """Test accuracy on the second experience right after learning it, in percent."""
    return float(100 * run.run.matrix[1, 1])


def render(setting: Setting, runs: Sequence[FinishedRun]) -> Output:
    """Left the accuracy on the second experience, right what freezing changed."""
    lines: list[Line] = []
    used: list[FinishedRun] = []
    sizes: list[str] = []
    for pair in PAIRS:
        by_depth = {depth: matching(runs, _configs(setting, pair, depth)) for depth in DEPTHS}
        by_seed = {
            depth: {run.run.seed: second_accuracy(run) for run in own if len(run.run.tasks) > 1}
            for depth, own in by_depth.items()
        }
        seeds = sorted(set().union(*by_seed.values()))
        if not seeds:
            continue
        values = np.array([[by_seed[depth].get(seed, np.nan) for depth in DEPTHS] for seed in seeds])
        dashes = "-" if pair.similar else "--"
        places = np.array(DEPTHS) + 0.04 * (len(lines) - 1.5)  # side by side, so that no bar hides another
        lines.append(Line(pair.name, places, values, pair.colour, dashes, "o", bars=True))
        own = [run for found in by_depth.values() for run in found]
        used += own
        first, second = own[0].run.tasks[:2]
        sizes.append(f"{pair.name} {first.train:,} and {second.train:,}")
    if not lines:
        return Output()
    notes = (
        "A plain model: trained on the first experience, its first blocks frozen, the rest trained on from there.",
        f"Training images of the two experiences: {'; '.join(sizes)}.",
        *caption(setting, plan(setting), used, spread="Points are means over seeds, bars ± one standard deviation."),
    )
    return Output(
        figures={"figure4": partial(draw, lines, chance_of(used[0].run), notes)},
        captions={"figure4": (TARGET.sentence, *notes)},
    )


def draw(lines: Sequence[Line], chance: float, notes: Sequence[str]) -> Figure:
    """The figure.

    Args:
        lines: for each pair the accuracy on its second experience in percent, by frozen blocks 0..4.
        chance: accuracy of guessing, in 0..1.
        notes: small print.
    """
    height = 3.3
    changes = [replace(line, values=line.values - line.values[:, :1]) for line in lines]
    compared = any(not np.isnan(line.mean[1:]).all() for line in changes)
    with drawing.style():
        figure = drawing.new_figure(drawing.WIDTH + 0.8, height + 0.6)
        panels = list(figure.subplots(1, 1 + compared, squeeze=False)[0])
        drawing.percent_axis(panels[0], len(DEPTHS), chance)
        ends = draw_lines(panels[0], lines)
        panels[0].set_title("Accuracy on the second experience, %", loc="left")
        if compared:
            ends = draw_lines(panels[1], changes)
            panels[1].set_title("Change against no frozen block, points", loc="left")
            panels[1].axhline(0, color=drawing.INK, linewidth=1.0)
        for axes in panels:
            axes.set_xlim(-0.2, len(DEPTHS) - 0.8)
            axes.set_xticks(DEPTHS, ["none", *map(str, DEPTHS[1:])])
            axes.set_xlabel("blocks frozen after the first experience")
        drawing.name_line_ends(panels[-1], ends, height - 0.7, width=26, share=0.03)
        drawing.footer(figure, notes)
        return figure


TARGET = Target(
    name="figure4",
    title="Accuracy on a second experience, learned on top of frozen blocks, for similar and dissimilar pairs",
    sentence=(
        "The first blocks are learned on one dataset and then frozen while another is learned: the further a line "
        "falls, the less the frozen blocks are good for the new images. Solid: similar images; dashed: others."
    ),
    plan=plan,
    render=render,
)
