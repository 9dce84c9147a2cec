"""Few images: accuracy by the number of training images of each class, trunk from e_1 or pretrained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hypertail.lab.experiments.backbones import digest_of_weights
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.library import FinishedRun, matching
from hypertail.lab.reports import drawing
from hypertail.lab.reports.lines import Line, draw_lines
from hypertail.lab.reports.papertable import PaperTable
from hypertail.lab.reproduce.captions import caption
from hypertail.lab.reproduce.cells import count, notes, percent
from hypertail.lab.reproduce.setting import Setting
from hypertail.lab.reproduce.target import Output, Target
from hypertail.nets.models import USUAL as USUAL_MODEL
from hypertail.nets.models import main_model

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STREAM = "split-cifar100"
COUNTS: tuple[int | None, ...] = (10, 20, 50, 100, None)
"""Training images of each class; None is all, 500 of CIFAR-100: then the run is the one of Table 2."""
MORE_EPOCHS: Mapping[int, int] = {10: 4, 20: 4, 50: 4, 100: 2}
"""Images of each class -> times the usual epochs: a task is to take some dozens of steps at least."""
SMOKE_COUNTS: tuple[int | None, ...] = (5, 20, None)
PRETRAINED = "cifar-resnet20"
"""The main model that weights are given for."""

# What is compared, as families and frozen stages from the deepest cut: 0 freezes all but the classifier.
_ROWS = (("separate", 1), ("head", 0), ("adapter", 1), ("hn", 1), ("lda", 0))
_MARKERS = {"separate": "s", "head": "v", "adapter": "^", "hn": "o", "lda": "D"}


@dataclass(frozen=True)
class Backbone:
    """A main model that the strategies are compared on.

    Attributes:
        model: its name.
        weights: digest of the file of its weights; None where its trunk is trained on e_1.
        stem: of its table.
        title: of its panel and table.
    """

    model: str
    weights: str | None
    stem: str
    title: str

    def strategies(self, setting: Setting) -> list[str]:
        """The rows, each with its depth in this model; asked for as on the usual one: hn-3, head-4."""
        usual = {f"{name}-{main_model(USUAL_MODEL).deepest - up}": (name, up) for name, up in _ROWS}
        chosen = [usual[name] for name in setting.chosen(tuple(usual), tuple(usual))]
        return [f"{name}-{main_model(self.model).deepest - up}" for name, up in chosen]


def backbones(setting: Setting) -> list[Backbone]:
    """The main model trained on e_1, and where there are weights the pretrained one.

    The digits have one channel, so that at scale smoke the weights are to be those of the usual model for such images.
    """
    found = [Backbone(USUAL_MODEL, None, "fewshot", "trunk trained on the first experience")]
    if setting.weights is not None:
        model = USUAL_MODEL if setting.size.digits else PRETRAINED
        found.append(Backbone(model, digest_of_weights(setting.weights), "fewshot-pretrained", "pretrained backbone"))
    return found


def counts(setting: Setting) -> tuple[int | None, ...]:
    """Training images of each class."""
    return SMOKE_COUNTS if setting.size.digits else COUNTS


def plan(setting: Setting) -> tuple[RunConfig, ...]:
    """Every strategy with every number of images, on every main model."""
    return tuple(
        config
        for backbone in backbones(setting)
        for strategy in backbone.strategies(setting)
        for number in counts(setting)
        for config in _configs(setting, backbone, strategy, number)
    )


def _configs(setting: Setting, backbone: Backbone, strategy: str, number: int | None) -> tuple[RunConfig, ...]:
    if not setting.among((STREAM,)):
        return ()
    more = 1 if number is None or setting.size.digits else MORE_EPOCHS[number]
    fields: dict[str, Any] = {"model": backbone.model, "weights": backbone.weights, "images_per_class": number}
    return setting.config(STREAM, strategy, epochs=more * setting.size.epochs, **fields)


Found = Mapping[str, Mapping[int | None, Sequence[FinishedRun]]]
"""Strategy -> images of each class -> its finished runs."""


def render(setting: Setting, runs: Sequence[FinishedRun]) -> Output:
    """A panel and a table for each main model."""
    tables: list[PaperTable] = []
    panels: dict[str, list[Line]] = {}
    used: list[FinishedRun] = []
    for backbone in backbones(setting):
        found = {
            strategy: {
                number: matching(runs, _configs(setting, backbone, strategy, number)) for number in counts(setting)
            }
            for strategy in backbone.strategies(setting)
        }
        own = [run for by_number in found.values() for each in by_number.values() for run in each]
        used += own
        tables.append(_table(setting, backbone, found, own))
        if own:
            panels[backbone.title] = [line for strategy in found if (line := _line(found[strategy])) is not None]
    if not used:
        return Output(tables=tuple(tables))
    small = (*_epochs(setting), *caption(setting, plan(setting), used, spread=_SPREAD))
    return Output(
        tables=tuple(tables),
        figures={"fewshot": partial(draw, panels, small)},
        captions={"fewshot": (TARGET.sentence, *small)},
    )


_SPREAD = "Lines are means over seeds, bands or bars ± one standard deviation."


def _epochs(setting: Setting) -> tuple[str, ...]:
    """How much longer few images are learned; nothing at scale smoke, where they are not."""
    if setting.size.digits:
        return ()
    return (
        "10 to 50 images of a class are learned in four times the epochs, 100 in twice as many; still fewer steps.",
    )


def _line(by_number: Mapping[int | None, Sequence[FinishedRun]]) -> Line | None:
    """ACA by images of a class, a row for each seed; None without runs."""
    points: dict[float, dict[int, float]] = {}
    for runs in by_number.values():
        accuracies = {run.run.seed: 100 * aca for run in runs if (aca := run.run.metrics["aca"]) is not None}
        if accuracies:
            points[images_a_class(runs[0])] = accuracies
    if not points:
        return None
    seeds, places = sorted(set().union(*points.values())), sorted(points)
    values = np.array([[points[place].get(seed, np.nan) for place in places] for seed in seeds])
    first = next(run for runs in by_number.values() for run in runs)
    colour, marker = drawing.colour_of(first.run), _MARKERS.get(first.run.strategy, "o")
    return Line(first.run.label, np.array(places), values, colour, marker=marker)


def images_a_class(run: FinishedRun) -> float:
    """What the run was limited to; where it was not, the images there are, over all classes."""
    if run.config.images_per_class is not None:
        return float(run.config.images_per_class)
    classes = sum(len(task.classes) for task in run.run.tasks)
    return round(sum(task.train for task in run.run.tasks) / max(classes, 1))


def _table(setting: Setting, backbone: Backbone, found: Found, used: Sequence[FinishedRun]) -> PaperTable:
    numbers = [number for number in counts(setting) if any(own[number] for own in found.values())] or counts(setting)
    rows = []
    for strategy, by_number in found.items():
        cells = [percent(by_number[number], "aca") for number in numbers]
        rows.append((_label(setting, backbone, strategy), *cells, count(_most(by_number))))
    planned_here = [config for config in plan(setting) if (config.model, config.weights) == _key(backbone)]
    weights = (f"Main model {backbone.model}, weights {backbone.weights}.",) if backbone.weights else ()
    return PaperTable(
        stem=backbone.stem,
        title=f"Few images: ACA % by training images of each class, {backbone.title}",
        columns=("strategy", *(_name(setting, number) for number in numbers), "n"),
        rows=tuple(rows),
        notes=notes(
            setting,
            planned_here,
            used,
            *(" ".join(words) for words in [(*weights, *_epochs(setting))] if words),
            *_left_out([_name(setting, number) for number in counts(setting) if number not in numbers]),
            *_fewer_seeds(setting, backbone, found),
            "Not in the paper.",
            printed=False,
        ),
    )


def _label(setting: Setting, backbone: Backbone, strategy: str) -> str:
    planned = _configs(setting, backbone, strategy, None)
    return planned[0].label if planned else strategy


def _most(by_number: Mapping[int | None, Sequence[FinishedRun]]) -> Sequence[FinishedRun]:
    """The runs of the number of images with the most seeds."""
    return max(by_number.values(), key=len)


def _left_out(names: Sequence[str]) -> tuple[str, ...]:
    return (f"No run is finished with {', '.join(names)} images of each class: not shown.",) if names else ()


def _fewer_seeds(setting: Setting, backbone: Backbone, found: Found) -> tuple[str, ...]:
    """Which cells have fewer seeds than the last column says, by images of each class."""
    told = []
    for number in counts(setting):
        measured = {strategy: own[number] for strategy, own in found.items() if own[number]}
        fewer: dict[int, list[str]] = {}
        for strategy, runs in measured.items():
            if len(runs) < len(_most(found[strategy])):
                fewer.setdefault(len(runs), []).append(_label(setting, backbone, strategy))
        for n, labels in fewer.items():
            who = "all" if len(labels) == len(measured) > 1 else ", ".join(labels)
            told.append(f"{who} with {_name(setting, number)} images, n = {n}")
    return (f"n is the most of a row. Fewer seeds: {'; '.join(told)}.",) if told else ()


def _key(backbone: Backbone) -> tuple[str, str | None]:
    return backbone.model, backbone.weights


def _name(setting: Setting, number: int | None) -> str:
    return str(number) if number is not None else "all" if setting.size.digits else "500"


def draw(panels: Mapping[str, Sequence[Line]], notes: Sequence[str]) -> Figure:
    """The figure.

    Args:
        panels: title -> ACA in percent by images of each class, a line for each strategy.
        notes: small print.
    """
    height = 3.6
    reach = np.concatenate([line.reach.ravel() for lines in panels.values() for line in lines])
    with drawing.style():
        figure = drawing.new_figure(drawing.WIDTH, height + 0.6)
        grid = figure.subplots(1, len(panels), squeeze=False)[0]
        for number, (axes, (title, lines)) in enumerate(zip(grid, panels.items(), strict=True)):
            drawing.zoomed_axis(axes, 1, reach)
            _logarithmic(axes, np.unique(np.concatenate([line.x for line in lines])))
            ends = draw_lines(axes, _apart(lines), width=1.6)
            axes.set_title(title[0].upper() + title[1:], loc="left", weight="bold")
            axes.set_xlabel("training images of each class")
            if number == 0:
                axes.set_ylabel("accuracy after the last experience (ACA), %")
            drawing.name_line_ends(axes, ends, height - 0.8, share=0.03)
        drawing.footer(figure, notes)
        return figure


def _apart(lines: Sequence[Line]) -> list[Line]:
    """Lines of one point each side by side, so that no bar hides another; others as they are."""
    if any(len(line.x) > 1 for line in lines):
        return list(lines)
    middle = (len(lines) - 1) / 2
    return [replace(line, x=line.x * 1.012 ** (number - middle)) for number, line in enumerate(lines)]


def _logarithmic(axes: Axes, places: NDArray[np.float64]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(places.min() / 1.1, places.max() * 1.1)
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.minorticks_off()


TARGET = Target(
    name="fewshot",
    title="Accuracy by training images of each class (not in the paper)",
    sentence=(
        "Has a whole tail for each experience too little to learn from where images are few? Then what shares weights "
        "between experiences, or learns few numbers, stands above Separate on the left."
    ),
    plan=plan,
    render=render,
)
