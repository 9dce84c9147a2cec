"""The trunk, learned alone on the first experience: a plain model is trained, cut, and its features standardised."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from hypertail.nets import Standardise, decompose, slim_resnet18
from hypertail.seeds import seeded
from hypertail.strategies import Naive, Optimisation, Rotations, Strategy
from hypertail.streams import Experience, Stream
from hypertail.training.features.cache import FeatureCache
from hypertail.training.loop import Progress, silent
from hypertail.training.precision import Precision
from hypertail.training.result import Result
from hypertail.training.trainer import Split, Trainer


def train_trunk(
    first: Experience,
    *,
    classes: int | None = None,
    depth: int = 3,
    epochs: int = 60,
    batch_size: int = 64,
    seed: int = 0,
    device: torch.device | str = "cpu",
    precision: Precision = "full",
    progress: Progress = silent,
) -> tuple[nn.Sequential, nn.Sequential]:
    """`(trunk, tail)` of a slim ResNet-18, both trained on an experience, but for the classifier, which is fresh.

    The learning rate is constant: falling to zero, it would fit the trunk closer to these classes, and worse to others.

    Args:
        first: the experience to train on. Each class is learned at four orientations, in twice the epochs.
        classes: outputs of the tail: the most classes of a task to come; None for those of `first`.
        depth: residual blocks in the trunk, 1 to 4; at 4 the tail is the classifier, and features are standardised.
        epochs: passes over the training data.
        batch_size: images per step.
        seed: of initialisation, batches and augmentation.
        device: where to train.
        precision: of the forward passes.
        progress: shown to the user.

    Raises:
        ConfigError: a depth out of range, or images that are not square.
        TrainingError: the loss became infinite or NaN.
    """
    stream = Stream(first.name, (first,), first.image_shape)
    with seeded(seed, "model"):
        model = slim_resnet18(len(first.classes), channels=first.image_shape[0])
    with seeded(seed, "tail"):
        fresh = slim_resnet18(classes or len(first.classes), channels=first.image_shape[0])
    _, tail = decompose(fresh.to(device, memory_format=torch.channels_last), depth)  # type: ignore[call-overload]
    optimisation = Optimisation(schedule="constant")
    naive = Naive(model.to(device, memory_format=torch.channels_last), optimisation, seed=seed)  # type: ignore[call-overload]
    train_body(
        stream,
        naive,
        epochs=epochs,
        rotations=True,
        batch_size=batch_size,
        seed=seed,
        device=device,
        precision=precision,
        progress=progress,
    )
    trunk, trained = decompose(naive.model.body, depth)
    if not any(True for _ in trained.parameters()):
        return standardised(trunk, first, seed=seed, device=device), tail
    tail.load_state_dict(trained.state_dict(), strict=False)
    return trunk, tail


def train_body(
    stream: Stream,
    naive: Naive,
    *,
    epochs: int,
    rotations: bool,
    batch_size: int,
    seed: int,
    device: torch.device | str,
    precision: Precision = "full",
    split: Split = "test",
    progress: Progress = silent,
    trainer: Callable[..., Trainer] = Trainer,
) -> Result:
    """Train the model of `naive` on the first experience of `stream`.

    Args:
        stream: of whose first experience it learns.
        naive: holds the model.
        epochs: passes over the training data; twice as many with rotations, which are more to see.
        rotations: learn each class at four orientations, a label of its own each (`Rotations`).
        batch_size: images per step.
        seed: of batches, augmentation and orientations.
        device: where to train.
        precision: of the forward passes.
        split: of whose data the accuracy is measured.
        progress: shown to the user.
        trainer: makes what trains it; one with a checkpoint goes on from that.

    Returns:
        What was measured.
    """
    learner: Strategy = Rotations(naive, seed=seed) if rotations else naive
    return trainer(
        stream.first(1),
        learner,
        epochs=2 * epochs if rotations else epochs,
        batch_size=batch_size,
        seed=seed,
        device=device,
        precision=precision,
        split=split,
        progress=lambda done, total, text: progress(done, total, f"trunk: {text}"),
    ).run(resume=True)


def standardised(trunk: nn.Module, first: Experience, *, seed: int, device: torch.device | str) -> nn.Sequential:
    """The trunk with a last stage that standardises its features, by their statistics on an experience."""
    inputs = FeatureCache(seed=seed, device=device)
    inputs.set_trunk(trunk.eval())
    features = inputs.plain(first)
    standardise = Standardise(features.shape[1]).to(device)
    standardise.fit(features.split(250))
    return nn.Sequential(trunk, standardise)
