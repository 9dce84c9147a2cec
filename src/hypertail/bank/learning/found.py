"""The backbone of a bank that its first folder decides: trained on it, or cut where it transfers best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from hypertail.bank.backbone import Backbone
from hypertail.bank.founding import AUTO_CUT, SLIM, Founding
from hypertail.bank.images.task_images import TaskImages
from hypertail.bank.learning.cut import propose_cut
from hypertail.bank.learning.task import Lessons
from hypertail.bank.preprocessing import Preprocessing
from hypertail.bank.sources import slim_backbone
from hypertail.nets.resnet import slim_resnet18
from hypertail.seeds import derive, seeded
from hypertail.strategies import Naive, Optimisation
from hypertail.streams.stream import Examples, Experience, Stream
from hypertail.streams.transforms import Compose, Normalise, RandomCrop, RandomFlip
from hypertail.training.loop import Progress, silent
from hypertail.training.pretrain import train_body

SLIM_SIZE, SLIM_EPOCHS, USUAL_CUT = 32, 20, "block4"
"""Pixels a side and epochs of a slim ResNet-18 that the first folder trains, and where it is cut."""


def found_backbone(
    founding: Founding,
    opened: Callable[[Preprocessing], tuple[TaskImages, TaskImages | None]],
    lessons: Lessons,
    device: str,
    progress: Progress = silent,
) -> tuple[Backbone, dict[str, Any]]:
    """The backbone, and the evidence for its cut where that was asked for.

    Args:
        founding: what the user wants.
        opened: images that the first task learns from, and those held out, which decide nothing here, so that what is
            measured on them is honest.
        lessons: of the bank.
        device: where it computes.
        progress: shown to the user.
    """
    if founding.source == SLIM:
        preprocessing = founding.preprocessing or Preprocessing(SLIM_SIZE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
        body = trained_slim(opened(preprocessing)[0], preprocessing, lessons, device, progress)
        cut = USUAL_CUT if founding.cut in (None, AUTO_CUT) else founding.cut
        assert cut is not None
        return moved(slim_backbone(body.cpu(), cut, preprocessing), device), {}
    found, evidence = propose_cut(founding, opened, lessons, device, progress)
    return moved(replace(founding, cut=found).backbone(), device), evidence


def moved(backbone: Backbone, device: str) -> Backbone:
    """The backbone on a device."""
    backbone.trunk.to(device)
    backbone.body.to(device)
    return backbone


def trained_slim(
    images: TaskImages, preprocessing: Preprocessing, lessons: Lessons, device: str, progress: Progress
) -> torch.nn.Module:
    """A slim ResNet-18 trained on the images, also to tell by how much they were turned (`Rotations`)."""
    pixels = torch.cat([images.pixels(part.tolist()) for part in torch.arange(len(images)).split(256)])
    examples = Examples(pixels, images.labels)
    steps = (RandomCrop(max(1, preprocessing.size // 8)), Normalise(preprocessing.mean, preprocessing.std))
    flips = (RandomFlip(),) if lessons.augment == "crop-flip" else ()
    plain = Compose((Normalise(preprocessing.mean, preprocessing.std),))
    first = Experience(0, "first", images.classes, examples, examples, None, Compose((*flips, *steps)), plain)
    stream = Stream("first", (first,), (3, preprocessing.size, preprocessing.size))
    seed = derive(lessons.seed, "founding")
    with seeded(seed, "model"):
        model = slim_resnet18(classes=len(images.classes)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    naive = Naive(model.to(device), Optimisation(schedule="constant"), seed=seed)
    train_body(
        stream,
        naive,
        epochs=lessons.schedule.epochs or SLIM_EPOCHS,
        rotations=True,
        batch_size=lessons.schedule.batch_size,
        seed=seed,
        device=torch.device(device),
        precision="full",
        split="test",
        progress=progress,
    )
    body: torch.nn.Module = naive.model.body
    return body
