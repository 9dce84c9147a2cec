"""Figure 5: what the images of the noisy stream look like."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hypertail.lab.experiments.library import FinishedRun
from hypertail.lab.reports import drawing
from hypertail.lab.reproduce.setting import Setting
from hypertail.lab.reproduce.target import Output, Target, no_runs
from hypertail.seeds import generator
from hypertail.streams import Experience, build_stream
from hypertail.streams.transforms import Compose, Normalise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STREAM = "noisy-cifar100"


class Sample(NamedTuple):
    """One image as the network sees it, before normalisation: (h, w, 1 or 3) in 0..1, and its class."""

    pixels: NDArray[np.float32]
    name: str


def render(setting: Setting, runs: Sequence[FinishedRun]) -> Output:
    """A row for each experience, an image for each class."""
    seed = setting.size.seeds[0]
    stream = build_stream(setting.stream(STREAM), seed=seed, data=setting.data)
    rows = {experience.name: one_of_each_class(experience, seed) for experience in stream}
    notes = [f"One random test image of every class, after the noise; {stream.name}, seed {seed}."]
    if setting.size.digits:
        notes.append("Embedded digits in place of CIFAR-100, without noise, to show that it works.")
    return Output(figures={"samples": partial(draw, rows, notes)}, captions={"samples": (TARGET.sentence, *notes)})


def one_of_each_class(experience: Experience, seed: int) -> list[Sample]:
    """A random test image of every class, with the experience's noise and without its normalisation."""
    random = generator(seed, "samples", experience.task)
    chosen = []
    for label in range(len(experience.classes)):
        places = (experience.test.labels == label).nonzero().flatten()
        chosen.append(places[int(torch.randint(len(places), (), generator=random))])
    images = experience.test_transform(experience.test.images[torch.stack(chosen)], random)
    pixels = _pixels(images, experience).permute(0, 2, 3, 1).numpy()
    return [Sample(image, name) for image, name in zip(pixels, experience.classes, strict=True)]


def _pixels(images: Tensor, experience: Experience) -> Tensor:
    """Normalised images, brought back to 0..1."""
    transform = experience.test_transform
    steps = transform.steps if isinstance(transform, Compose) else ()
    for step in steps:
        if isinstance(step, Normalise):
            mean, std = (torch.tensor(values)[:, None, None] for values in (step.mean, step.std))
            return (images * std + mean).clamp(0, 1)
    return (images - images.amin()) / (images.amax() - images.amin()).clamp_min(1e-6)


def draw(rows: dict[str, list[Sample]], notes: Sequence[str]) -> Figure:
    """The figure.

    Args:
        rows: name of each experience -> its images.
        notes: small print.
    """
    columns = max(len(row) for row in rows.values())
    side = min(1.15, drawing.WIDTH / (columns + 1.3))
    with drawing.style():
        figure = drawing.new_figure(side * (columns + 1.3), len(rows) * (side + 0.12) + 0.45)
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for number, (line, (name, row)) in enumerate(zip(grid, rows.items(), strict=True), start=1):
            for axes, sample in zip(line, row, strict=False):
                grey = sample.pixels.shape[2] == 1
                axes.imshow(
                    sample.pixels[..., 0] if grey else sample.pixels, cmap="gray", vmin=0, vmax=1,
                    interpolation="nearest",
                )  # fmt: skip
                axes.set_title(sample.name.replace("_", " "), fontsize=8, pad=2)
            for axes in line:
                axes.set_xticks([])
                axes.set_yticks([])
                axes.spines[:].set_visible(False)
            for axes in line[len(row) :]:
                axes.set_visible(False)
            line[0].set_ylabel(
                f"experience {number}\n{textwrap.fill(name, 18)}", rotation=0, ha="left", va="center", labelpad=84
            )
        drawing.footer(figure, notes)
        return figure


TARGET = Target(
    name="samples",
    title="Sample images of the noisy stream (the paper's Figure 5)",
    sentence=(
        "Each row is one experience, five classes each. The noise differs from row to row, so every experience asks "
        "the model to see a different kind of image."
    ),
    plan=no_runs,
    render=render,
    streams=(STREAM,),
)
