"""The steps that learn the tail of one task from features of the frozen trunk."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Int64
from torch import Tensor
from torch.nn import functional as F

from hypertail.bank.methods.method import Method
from hypertail.errors import ConfigError, TrainingError
from hypertail.nets.task_tail import TaskTail
from hypertail.nets.tensors import BufferDict
from hypertail.seeds import generator, reseed, seeded
from hypertail.strategies.parts.optimisation import Optimisation
from hypertail.training.batches import batch_sizes
from hypertail.training.features.cache import take
from hypertail.training.loop import Progress, silent


class Views(Protocol):
    """Features of the training images of a task."""

    views: int

    def view(self, number: int, /) -> Tensor:
        """Those of one augmented view, (n, ...)."""

    def plain(self) -> Tensor:
        """Those without augmentation, (n, ...)."""


@dataclass(frozen=True)
class Schedule:
    """How long a task is learned.

    Attributes:
        epochs: passes over its images; None for as many as make `least_steps` steps, at least `USUAL_EPOCHS`.
        batch_size: images a step.
        least_steps: where `epochs` is None.

    Raises:
        ConfigError: no epochs, or a batch below 2.
    """

    epochs: int | None = None
    batch_size: int = 32
    least_steps: int = 400

    def __post_init__(self) -> None:
        whole = isinstance(self.batch_size, int) and isinstance(self.epochs, int | None)
        if not whole or (self.epochs is not None and self.epochs < 1) or self.batch_size < 2:
            raise ConfigError(
                "length of learning",
                required="whole numbers: at least 1 epoch, and batches of at least 2",
                found=f"epochs={self.epochs}, batch_size={self.batch_size}",
                hint="Leave them out, or give other numbers.",
            )

    def epochs_for(self, images: int) -> int:
        """Passes over a task of so many images."""
        if self.epochs is not None:
            return self.epochs
        a_pass = len(batch_sizes(images, self.batch_size))
        return min(MOST_EPOCHS, max(USUAL_EPOCHS, math.ceil(self.least_steps / a_pass)))


USUAL_EPOCHS, MOST_EPOCHS = 15, 60


def learn_tail(
    tail: TaskTail,
    method: Method,
    features: Views,
    labels: Int64[Tensor, " n"],
    *,
    schedule: Schedule,
    seed: int = 0,
    penalty: Callable[[], Tensor] | None = None,
    progress: Progress = silent,
) -> None:
    """Learn a tail by Adam on the cross-entropy; its statistics are then those of all images without augmentation.

    What is random follows from the seed and the step.

    Args:
        tail: of `method.begin`; learns in place.
        method: says which parameters learn at which rate.
        features: of the training images.
        labels: of them, on the device of the features.
        schedule: how long.
        seed: of the order of images, and of dropout.
        penalty: added to the loss of every step; None for nothing.
        progress: shown to the user, after each epoch.

    Raises:
        TrainingError: the loss became infinite or NaN.
    """
    epochs, groups = schedule.epochs_for(len(labels)), method.groups(tail)
    sizes = batch_sizes(len(labels), schedule.batch_size)
    rates = {name: method.rates[name] for name in groups}
    descent = Optimisation(lr=max(rates.values()), rates=rates).begin(groups, epochs * len(sizes), BufferDict())
    inputs = _Inputs(tail, features, method.learns_body)
    tail.train()
    try:
        with seeded(seed, "dropout"):
            for epoch in range(epochs):
                seen = inputs.view(epoch % features.views)
                order = torch.randperm(len(labels), generator=generator(seed, "order", epoch)).to(labels.device)
                losses = []
                for step, rows in enumerate(order.split(sizes)):
                    reseed(seed, "step", epoch, step)
                    loss = F.cross_entropy(inputs.logits(take(seen, rows)), labels[rows])
                    descent.descend(loss if penalty is None else loss + penalty())
                    losses.append(loss.detach())
                mean = float(torch.stack(losses).mean())
                _check(mean, epoch)
                progress((epoch + 1) * len(sizes), epochs * len(sizes), f"epoch {epoch + 1}/{epochs}, loss {mean:.3f}")
    finally:
        tail.eval()
    if method.learns_body:
        tail.recompute_statistics(features.plain())


class _Inputs:
    """What each step starts from: features, or the vectors of a body that no task changes, computed once."""

    def __init__(self, tail: TaskTail, features: Views, learns_body: bool) -> None:
        self.tail, self.features, self.learns_body = tail, features, learns_body
        self._vectors: dict[int, Tensor] = {}

    def view(self, number: int) -> Tensor:
        """Inputs of all images in one view."""
        if self.learns_body:
            return self.features.view(number)
        if number not in self._vectors:
            self._vectors[number] = embeddings(self.tail, self.features.view(number))
        return self._vectors[number]

    def logits(self, inputs: Tensor) -> Tensor:
        """Of the tail."""
        logits: Tensor = self.tail(inputs) if self.learns_body else self.tail.head(inputs)
        return logits


@torch.no_grad()
def embeddings(tail: TaskTail, features: Tensor, chunk: int = 256) -> Tensor:
    """What the head is given for many examples, in evaluation mode, (n, width)."""
    return torch.cat([tail.embedding(part) for part in features.split(chunk)])


def _check(loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise TrainingError(
            f"loss in epoch {epoch + 1}",
            required="a finite loss",
            found=str(loss),
            hint="Give a lower learning rate, or check the images; the bank is as it was.",
        )
