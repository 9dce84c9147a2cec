"""Learning one experience: epochs, batches and what is checked on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from hypertail.errors import ConfigError, TrainingError
from hypertail.nets.tensors import all_finite
from hypertail.seeds import generator, reseed, seeded
from hypertail.strategies import Lesson, Strategy, Task
from hypertail.streams import Experience
from hypertail.training.batches import batch_sizes
from hypertail.training.features.cache import FeatureCache, take
from hypertail.training.precision import Precision, autocast


class Progress(Protocol):
    """Progress callback, called at most a few times per epoch."""

    def __call__(self, done: int, total: int, text: str) -> None:
        """`done` of `total` optimizer steps are taken; `text` says where that is."""


def silent(done: int, total: int, text: str) -> None:
    """Shows nothing."""


def learn_experience(
    strategy: Strategy,
    experience: Experience,
    *,
    epochs: int,
    batch_size: int = 64,
    seed: int = 0,
    device: torch.device | str = "cpu",
    precision: Precision = "full",
    cache: FeatureCache | None = None,
    progress: Progress = silent,
    name: str | None = None,
) -> list[float]:
    """Learn one experience, without a stream around it.

    Every random choice follows from (seed, purpose, task, epoch, step): experiences learned one by one, with one cache
    or with several of the same seed, end with the same bits as those of a stream that `Trainer` runs.

    Args:
        strategy: what learns; the same one for every experience.
        experience: its `task` is the id under which it is learned.
        epochs: passes over the training data.
        batch_size: images per step.
        seed: of batch order and augmentation.
        device: where training happens; the strategy is there already.
        precision: of the forward passes of a step.
        cache: serves inputs; by default a new view each epoch.
        progress: shown to the user, after each epoch.
        name: what the user calls the task; no two tasks may have the same name.

    Returns:
        The mean training loss of each epoch; nothing where the strategy takes no steps.

    Raises:
        ConfigError: no epochs, a batch below 2, or a task that was learned already.
        TrainingError: the loss became infinite or NaN.

    Example:
        >>> from hypertail.nets import decompose, slim_resnet18
        >>> from hypertail.strategies import tuned_hypernet
        >>> from hypertail.streams import build_stream
        >>> first = build_stream("digits", experiences=2, images_per_class=20)[0]
        >>> strategy = tuned_hypernet(*decompose(slim_resnet18(classes=5, channels=1), depth=4))
        >>> len(learn_experience(strategy, first, epochs=3, name="zero to four"))
        3
        >>> strategy.id_of("zero to four")
        0
    """
    check_length(epochs, batch_size)
    loop = Loop(
        strategy,
        cache or FeatureCache(seed=seed, device=device),
        batch_size=batch_size,
        seed=seed,
        device=torch.device(device),
        precision=precision,
    )
    losses: list[float] = []
    steps = loop.steps(experience, epochs)

    def after_epoch(epoch: int, loss: float) -> None:
        losses.append(loss)
        text = f"task {experience.task}, epoch {epoch + 1}/{epochs}, loss {loss:.3f}"
        progress((epoch + 1) * steps // epochs, steps, text)

    loop.learn([experience], [name], epochs=epochs, after_epoch=after_epoch)
    if not strategy.takes_steps:
        progress(steps, steps, f"task {experience.task}")
    return losses


def check_length(epochs: int, batch_size: int, first_epochs: int | None = None) -> None:
    """Refuse training that would take no step.

    Raises:
        ConfigError: no epochs, or a batch below 2.
    """
    if epochs < 1 or batch_size < 2 or (first_epochs is not None and first_epochs < 1):
        raise ConfigError(
            "length of training",
            required="at least 1 epoch and batches of at least 2",
            found=f"epochs={epochs}, first_epochs={first_epochs}, batch_size={batch_size}",
            hint="Give larger numbers.",
        )


class Position(NamedTuple):
    """How far an experience was learned.

    Attributes:
        epoch: from 0.
        losses: of the steps of that epoch that were taken.
    """

    epoch: int
    losses: Tensor


def not_begun(lesson: Lesson) -> Position | None:
    """Every lesson starts from its beginning."""
    return None


def unheeded(lesson: Lesson, epoch: int, losses: Tensor) -> None:
    """Nothing happens after a step."""


def no_clock(phase: str) -> AbstractContextManager[None]:
    """Measures nothing."""
    return nullcontext()


@dataclass(frozen=True)
class Loop:
    """How experiences are learned, whatever their number.

    Args:
        strategy: what learns.
        cache: serves inputs.
        batch_size: images per step.
        seed: of batch order and of what draws from the global random state.
        device: where training happens.
        precision: of the forward passes of a step.
        clock: entered with `features` or `training` around what belongs to a phase.
        kept: says where the state before the experience is kept, as a sentence for an error; "" for nowhere.
    """

    strategy: Strategy
    cache: FeatureCache
    batch_size: int
    seed: int
    device: torch.device
    precision: Precision
    clock: Callable[[str], AbstractContextManager[None]] = no_clock
    kept: Callable[[], str] = lambda: ""

    def steps(self, experience: Experience, epochs: int) -> int:
        """Optimizer steps that an experience takes; 1 where the strategy takes none."""
        if not self.strategy.takes_steps:
            return 1
        return epochs * len(batch_sizes(len(experience.train), self.batch_size))

    def learn(
        self,
        experiences: Sequence[Experience],
        names: Sequence[str | None],
        *,
        epochs: int,
        after_epoch: Callable[[int, float], None],
        begun: Callable[[Lesson], Position | None] = not_begun,
        after_step: Callable[[Lesson, int, Tensor], None] = unheeded,
    ) -> None:
        """Learn an experience, or several together where the strategy does so.

        Where it takes no steps, there are no epochs: nothing happens between `begun` and the end.

        Args:
            experiences: one, or all of a stream.
            names: of their tasks.
            epochs: passes over the training data.
            after_epoch: called with the number of the epoch, from 0, and its mean loss.
            begun: told the lesson before its first step; may bring it to where another one was, and say where.
            after_step: told the lesson, the epoch, and the losses of its steps so far.

        Raises:
            TrainingError: the loss became infinite or NaN.
        """
        with seeded(self.seed, "train", experiences[0].task):
            self._learn(experiences, names, epochs, after_epoch, begun, after_step)

    def _learn(
        self,
        experiences: Sequence[Experience],
        names: Sequence[str | None],
        epochs: int,
        after_epoch: Callable[[int, float], None],
        begun: Callable[[Lesson], Position | None],
        after_step: Callable[[Lesson, int, Tensor], None],
    ) -> None:
        steps = sum(self.steps(experience, epochs) for experience in experiences)
        self.cache.set_trunk(self.strategy.frozen_trunk)
        # where several are learned together, the lesson of the last is that of all
        *_, lesson = [
            self.strategy.begin(self._task(experience, steps, name))
            for experience, name in zip(experiences, names, strict=True)
        ]
        labels = {experience.task: experience.train.labels.to(self.device) for experience in experiences}
        start = begun(lesson) or Position(0, torch.empty(0))
        for epoch in range(start.epoch, epochs if self.strategy.takes_steps else 0):
            taken = start.losses if epoch == start.epoch else torch.empty(0)
            with self.clock("features"):
                inputs = {experience.task: self.cache.train(experience, epoch) for experience in experiences}
            with self.clock("training"):
                loss = self._epoch(lesson, experiences, epoch, inputs, labels, taken, after_step)
            after_epoch(epoch, loss)
        with self.clock("training"):
            reseed(self.seed, "end", experiences[0].task)
            lesson.end()
        self.cache.set_trunk(self.strategy.frozen_trunk)
        self._check_state(experiences[-1].task)

    def _task(self, experience: Experience, steps: int, name: str | None) -> Task:
        def plain() -> tuple[Tensor, Tensor]:
            self.cache.set_trunk(self.strategy.frozen_trunk)
            return self.cache.plain(experience), experience.train.labels.to(self.device)

        return Task(experience.task, len(experience.classes), steps, plain, name)

    def _epoch(
        self,
        lesson: Lesson,
        experiences: Sequence[Experience],
        epoch: int,
        inputs: dict[int, Tensor],
        labels: dict[int, Tensor],
        taken: Tensor,
        after_step: Callable[[Lesson, int, Tensor], None],
    ) -> float:
        batches = self._batches(experiences, epoch)
        # losses stay on the device until the epoch ends: no synchronisation within it
        losses = torch.empty(len(batches), device=self.device)
        losses[: len(taken)] = taken
        for step, (task, index) in enumerate(batches):
            if step < len(taken):
                continue
            reseed(self.seed, "step", experiences[0].task, epoch, step)
            with autocast(self.precision, self.device):
                losses[step] = lesson.step(take(inputs[task], index), labels[task][index], task)
            after_step(lesson, epoch, losses[: step + 1])
        self.check_losses(losses, experiences[0].task, epoch)
        return float(losses.mean())

    def _batches(self, experiences: Sequence[Experience], epoch: int) -> list[tuple[int, Tensor]]:
        """Task and rows of each batch of an epoch."""
        batches = []
        for experience in experiences:
            random = generator(self.seed, "order", experience.task, epoch)
            order = torch.randperm(len(experience.train), generator=random).to(self.device)
            batches += [(experience.task, index) for index in order.split(batch_sizes(len(order), self.batch_size))]
        if len(experiences) > 1:
            mix = torch.randperm(len(batches), generator=generator(self.seed, "mix", epoch)).tolist()
            batches = [batches[number] for number in mix]
        return batches

    def check(self, losses: Tensor, task: int, epoch: int) -> None:
        """Refuse to keep a state that cannot be learned on from: after a step, by the losses of its epoch so far.

        Raises:
            TrainingError: a loss or a number of the state is infinite or NaN.
        """
        self.check_losses(losses, task, epoch)
        self._check_state(task)

    def check_losses(self, losses: Tensor, task: int, epoch: int) -> None:
        """The first half of `check`.

        Raises:
            TrainingError: a loss is infinite or NaN.
        """
        infinite = (~losses.isfinite()).nonzero()
        if len(infinite):
            step = int(infinite[0])
            raise TrainingError(
                f"loss of task {task} in epoch {epoch + 1}, step {step + 1}",
                required="a finite loss",
                found=str(float(losses[step])),
                hint=f"{self.kept()}Lower the learning rate or the penalty weight, or check the data.",
            )

    def _check_state(self, task: int) -> None:
        # a bad last step would not show in any later loss
        floats = {name: tensor for name, tensor in self.strategy.state().items() if tensor.is_floating_point()}
        if all_finite(floats.values()):
            return
        for name, tensor in floats.items():
            if not bool(tensor.isfinite().all()):
                raise TrainingError(
                    f"'{name}' of task {task}",
                    required="finite numbers",
                    found="infinite ones or NaN",
                    hint=f"{self.kept()}Lower the learning rate or the penalty weight, or check the data.",
                )
