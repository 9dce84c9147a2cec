"""Figure 6: the filters that a hypernetwork generates for two experiences of the noisy stream."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from hypertail.errors import DataError
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.library import FinishedRun, matching
from hypertail.lab.reports import drawing
from hypertail.lab.reproduce.captions import caption
from hypertail.lab.reproduce.figures.figure7 import recorded
from hypertail.lab.reproduce.setting import Setting
from hypertail.lab.reproduce.target import Output, Target
from hypertail.nets import decompose
from hypertail.nets.models import main_model
from hypertail.recipes.hypernet import generator_of
from hypertail.recipes.recipe import begins_pretrained
from hypertail.seeds import seeded
from hypertail.storage.checkpoint import load_checkpoint
from hypertail.training.resume import explained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STREAM, DEPTH, STAGE = "noisy-cifar100", 2, "block3"
CHECKPOINT = "checkpoint.safetensors"
_SHOWN = 12  # filters a side


class Filters(NamedTuple):
    """The kernels (out, in, k, k) of one generated convolution for two experiences, counted from 0."""

    layer: str
    tasks: tuple[int, int]
    first: NDArray[np.float32]
    second: NDArray[np.float32]


def plan(setting: Setting) -> tuple[RunConfig, ...]:
    """HN-2 on the noisy stream, as in Figure 7: one seed, since one run is shown."""
    strategy = f"hn-{DEPTH}"
    if not setting.among((STREAM,)) or not setting.chosen((strategy,), (strategy,)):
        return ()
    return recorded(setting, STREAM, strategy)[:1]


def render(setting: Setting, runs: Sequence[FinishedRun]) -> Output:
    """The filters of the first run whose checkpoint was kept; nothing if there is none."""
    configs = setting.config(STREAM, f"hn-{DEPTH}")  # whether it was measured within experiences does not matter
    own = [run for run in matching(runs, configs) if (run.directory / CHECKPOINT).is_file()]
    if not own:
        return Output()
    filters = generated_filters(own[0])
    notes = (measured(filters), *caption(setting, (), own[:1], spread=""))
    return Output(figures={"figure6": partial(draw, filters, notes)}, captions={"figure6": (TARGET.sentence, *notes)})


def generated_filters(finished: FinishedRun) -> Filters:
    """The first convolution of the third block, generated from the run's checkpoint for e_2 and e_3.

    Of a stream of two experiences, e_1 and e_2.

    Raises:
        DataError: no convolution of that block is generated, or there is one experience only.
        CheckpointError: the checkpoint cannot be read, or holds another hypernetwork than the options say.
    """
    path = finished.directory / CHECKPOINT
    tensors, _ = load_checkpoint(path)
    # the second is the name in checkpoints of earlier versions
    prefixes = ("strategy.net.hyper.", "strategy.hyper.")
    state = {
        name.removeprefix(prefix): value
        for prefix in prefixes
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
    config, count = finished.config.settled(), len(finished.run.tasks)
    width = config.options.get("head_width") or max(len(task.classes) for task in finished.run.tasks)
    with seeded(config.seed, "filters"):
        main = main_model(config.model).build(width, channels=3, norm="batch")
        _, tail = decompose(main, config.depth or 0)
        adds = begins_pretrained(config.options, config.cut)
        hyper = generator_of(config.options, tail, state["embedding"].shape[0], adds=adds)
    layers = [name for name, shape in hyper.shapes.items() if name.startswith(STAGE) and len(shape) == 4]
    if not layers or count < 2:
        raise DataError(
            f"filters of {finished.run.label}",
            required=f"two experiences and a generated convolution in {STAGE}",
            found=f"{count} experiences, depth {config.depth}",
            hint="Use a hypernetwork at depth 2 or less.",
        )
    with explained(path):
        hyper.load_state_dict(state)
    tasks = (min(1, count - 2), min(2, count - 1))
    with torch.no_grad():
        first, second = (hyper(task)[layers[0]].contiguous().numpy() for task in tasks)
    return Filters(layers[0], tasks, first, second)


def measured(filters: Filters) -> str:
    """How alike the two sets of filters are, as a sentence."""
    first, second = filters.first.ravel(), filters.second.ravel()
    alike = float(np.corrcoef(first, second)[0, 1])
    apart = float(np.sqrt(np.mean((first - second) ** 2) / np.mean(first**2)))
    out, channels, height, width = filters.first.shape
    return (
        f"Over all {out} × {channels} filters of {height} × {width} in {filters.layer}, the two sets correlate at "
        f"r = {alike:.2f}; their difference is {100 * apart:.0f} % as large as the filters (root mean squares)."
    )


def draw(filters: Filters, notes: Sequence[str]) -> Figure:
    """The figure: filters of each experience and their difference, on one scale.

    Args:
        filters: of two experiences; the first twelve output channels (down) and input channels (across) are drawn.
        notes: small print.
    """
    first, second = filters.first, filters.second
    limit = float(np.quantile(np.abs(np.concatenate((first.ravel(), second.ravel()))), 0.995)) or 1.0
    names = [f"experience {task + 1}" for task in filters.tasks]
    panels = ((names[0], first), (names[1], second), (f"{names[1]} minus {names[0]}", second - first))
    with drawing.style():
        figure = drawing.new_figure(drawing.WIDTH, drawing.WIDTH / 3 + 0.75)
        grid = figure.subplots(1, 3)
        for axes, (name, values) in zip(grid, panels, strict=True):
            mesh = axes.imshow(mosaic(values), cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
            axes.set_title(name, loc="left", weight="bold")
            axes.set_xlabel("input channels")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.grid(False)
            axes.spines[:].set_visible(False)
        grid[0].set_ylabel("output channels")
        bar = figure.colorbar(mesh, ax=list(grid), aspect=25, fraction=0.03, pad=0.02)
        bar.set_label("weight")
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0)
        drawing.footer(figure, notes)
        return figure


def mosaic(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Kernels (out, in, h, w) side by side, output channels downwards, with empty (NaN) lines between them."""
    shown = values[:_SHOWN, :_SHOWN]
    rows, columns, height, width = shown.shape
    tiles = np.full((rows, columns, height + 1, width + 1), np.nan, dtype=np.float32)
    tiles[:, :, :height, :width] = shown
    return tiles.transpose(0, 2, 1, 3).reshape(rows * (height + 1), columns * (width + 1))[:-1, :-1]


TARGET = Target(
    name="figure6",
    title="Filters generated for two experiences of the noisy stream",
    sentence=(
        "Each small square is one filter of the same layer, red for positive and blue for negative weights: where the "
        "third panel has colour, the hypernetwork has given the two experiences filters of their own."
    ),
    plan=plan,
    render=render,
)
