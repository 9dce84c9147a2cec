"""The loop over experiences, epochs and batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from hypertail.errors import ConfigError, TrainingError
from hypertail.seeds import generator, seeded
from hypertail.storage.checkpoint import load_checkpoint, save_checkpoint
from hypertail.strategies import Strategy, Task
from hypertail.streams import Experience, Stream
from hypertail.training.batches import batch_sizes
from hypertail.training.features.cache import FeatureCache, take
from hypertail.training.precision import Precision, autocast
from hypertail.training.resume import check_same_run, enlarged, explained, facts_of

Split = Literal["test", "validation"]


class Progress(Protocol):
    """Told how far a run is; called a few times an epoch at most."""

    def __call__(self, done: int, total: int, text: str) -> None:
        """`done` of `total` optimizer steps are taken; `text` says where that is."""


def silent(done: int, total: int, text: str) -> None:
    """Shows nothing."""


def unheard(task: int, accuracies: Tensor) -> None:
    """Tells nobody."""


@dataclass
class Result:
    """What a run measured.

    Attributes:
        accuracy: R (N, N), R[i, j] = accuracy on e_j after learning e_i; NaN where not measured.
        seconds: wall-clock seconds by phase: features, training, evaluation.
        seconds_per_experience: wall-clock seconds of each experience, all phases.
        bytes_per_experience: bytes kept after each experience.
        losses: mean training loss of each epoch of each experience.
        curves: accuracies within experiences, if asked for.
    """

    accuracy: Tensor
    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("features", "training", "evaluation"), 0.0)
    )
    seconds_per_experience: list[float] = field(default_factory=list)
    bytes_per_experience: list[int] = field(default_factory=list)
    losses: list[list[float]] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)


class Trainer:
    """Runs one strategy over one stream.

    Every random choice follows from (seed, purpose, task, epoch), so a run continued from a checkpoint takes the
    same steps as one that was never interrupted.

    Args:
        stream: what is learned.
        strategy: what learns.
        epochs: passes over the training data of each experience.
        first_epochs: passes over that of the first, where it is to differ.
        batch_size: images per step.
        seed: of batch order and augmentation.
        cache: serves inputs; by default a new view each epoch.
        device: where training happens.
        precision: of the forward passes of a step; accuracies are always measured at full precision.
        split: accuracies are measured on the `test` data, or on `validation` data to choose hyper-parameters.
        eval_every: also measure all accuracies every so many epochs (0: only after each experience).
        checkpoint: written after each experience; None for none.
        progress: shown to the user.
        learned: told each experience and the accuracies (task + 1,) after it, once its checkpoint is written; also
            those of a run that goes on. What it raises ends the run there.

    Raises:
        ConfigError: no epochs, a batch below 2, or accuracies asked on a validation split that the stream lacks.
    """

    def __init__(
        self,
        stream: Stream,
        strategy: Strategy,
        *,
        epochs: int,
        first_epochs: int | None = None,
        batch_size: int = 64,
        seed: int = 0,
        cache: FeatureCache | None = None,
        device: torch.device | str = "cpu",
        precision: Precision = "full",
        split: Split = "test",
        eval_every: int = 0,
        checkpoint: Path | None = None,
        progress: Progress = silent,
        learned: Callable[[int, Tensor], None] = unheard,
    ) -> None:
        if epochs < 1 or batch_size < 2 or (first_epochs is not None and first_epochs < 1):
            raise ConfigError(
                "length of training",
                required="at least 1 epoch and batches of at least 2",
                found=f"epochs={epochs}, first_epochs={first_epochs}, batch_size={batch_size}",
                hint="Give larger numbers.",
            )
        if split == "validation" and any(experience.validation is None for experience in stream):
            raise ConfigError(
                "no validation data to measure on",
                required="a stream with a validation split",
                found=f"stream {stream.name} without one",
                hint="Hold some training data out, for example with --validation 0.1.",
            )
        self.stream, self.strategy = stream, strategy
        self.epochs, self.batch_size, self.seed = epochs, batch_size, seed
        self.first_epochs = epochs if first_epochs is None or strategy.all_at_once else first_epochs
        self.device, self.split, self.eval_every = torch.device(device), split, eval_every
        self.checkpoint, self.progress, self.learned = checkpoint, progress, learned
        self.cache = cache or FeatureCache(seed=seed, device=device)
        self.precision: Precision = precision
        self.result = Result(torch.full((len(stream), len(stream)), torch.nan, dtype=torch.float64))
        self._done = 0

    def run(self, *, resume: bool = False) -> Result:
        """Learn the stream, or what is left of it, and return what was measured.

        A stream that grew goes on with its new experiences, behind those of the checkpoint, which must be unchanged.
        Build the strategy as before: the result is bit for bit that of an uninterrupted run of this strategy over the
        longer stream. A hypernetwork makes room for new tasks by itself; one that is built for more tasks from the
        start begins with other random numbers, so that it is another run and refused.

        Args:
            resume: continue after the last experience in the checkpoint, if there is one.

        Raises:
            CheckpointError: the checkpoint is damaged, or of a run of another strategy, length, batch size, seed,
                precision, split or of other data.
            TrainingError: the loss became infinite or NaN.
        """
        first = self._restore() if resume and self.checkpoint is not None and self.checkpoint.is_file() else 0
        everything = list(self.stream)
        groups = [everything] if self.strategy.all_at_once else [[experience] for experience in everything]
        self._done = sum(self._steps(e) for group in groups[:first] for e in group)
        self._total = sum(self._steps(experience) for experience in everything)
        for task in range(first):
            self.learned(task, self.result.accuracy[task, : task + 1])
        for group in groups[first:]:
            started, saved = time.perf_counter(), self.cache.saved_seconds
            with seeded(self.seed, "train", group[0].task):
                self._learn(group)
            with self._clock("evaluation"):
                last = group[-1].task
                self.result.accuracy[last, : last + 1] = self.evaluate(last)
            # experiences learned together share the time they took
            seconds = (time.perf_counter() - started + self.cache.saved_seconds - saved) / len(group)
            self.result.seconds_per_experience += [seconds] * len(group)
            self.result.bytes_per_experience += [sum(self.strategy.memory().values())] * len(group)
            if self.checkpoint is not None:
                self._save(group[-1].task + 1)
            self.learned(last, self.result.accuracy[last, : last + 1])
        return self.result

    def _epochs(self, task: int) -> int:
        return self.first_epochs if task == 0 else self.epochs

    def _steps(self, experience: Experience) -> int:
        return self._epochs(experience.task) * len(batch_sizes(len(experience.train), self.batch_size))

    def _learn(self, group: list[Experience]) -> None:
        strategy, cache = self.strategy, self.cache
        steps = sum(self._steps(experience) for experience in group)
        cache.set_trunk(strategy.frozen_trunk)
        tasks = [
            Task(e.task, len(e.classes), steps, partial(self._plain, e), self.stream.task_name(e.task)) for e in group
        ]
        for task in tasks:
            strategy.begin(task)
        labels = {experience.task: experience.train.labels.to(self.device) for experience in group}
        self.result.losses.append([])
        epochs = self._epochs(group[0].task)
        for epoch in range(epochs):
            with self._clock("features"):
                inputs = {experience.task: cache.train(experience, epoch) for experience in group}
            with self._clock("training"):
                self._epoch(group, epoch, inputs, labels)
            if self.eval_every and (epoch + 1) % self.eval_every == 0 and epoch + 1 < epochs:
                with self._clock("evaluation"):
                    accuracies = self.evaluate(group[-1].task).tolist()
                curve = {"task": group[-1].task, "epoch": epoch + 1, "accuracy": accuracies}
                self.result.curves.append(curve)
        with self._clock("training"):
            for task in tasks:
                strategy.end(task)
        cache.set_trunk(strategy.frozen_trunk)
        self._check_state(group[-1].task)

    def _epoch(self, group: list[Experience], epoch: int, inputs: dict[int, Tensor], labels: dict[int, Tensor]) -> None:
        batches = []
        for experience in group:
            random = generator(self.seed, "order", experience.task, epoch)
            order = torch.randperm(len(experience.train), generator=random).to(self.device)
            sizes = batch_sizes(len(order), self.batch_size)
            batches += [(experience.task, index) for index in order.split(sizes)]
        if len(group) > 1:
            mix = torch.randperm(len(batches), generator=generator(self.seed, "mix", epoch)).tolist()
            batches = [batches[number] for number in mix]
        # losses stay on the device until the epoch ends: no synchronisation within it
        losses = torch.empty(len(batches), device=self.device)
        for step, (task, index) in enumerate(batches):
            with autocast(self.precision, self.device):
                losses[step] = self.strategy.step(take(inputs[task], index), labels[task][index], task)
        self._done += len(batches)
        self._check(losses, [task for task, _ in batches], epoch)
        mean = float(losses.mean())
        self.result.losses[-1].append(mean)
        name = f"experience {group[-1].task + 1}/{len(self.stream)}"
        where = f"{name}, epoch {epoch + 1}/{self._epochs(group[0].task)}"
        self.progress(self._done, self._total, f"{where}, loss {mean:.3f}")

    def _check(self, losses: Tensor, tasks: list[int], epoch: int) -> None:
        bad = (~losses.isfinite()).nonzero()
        if len(bad):
            step = int(bad[0])
            kept = f"The state before this experience is kept in {self.checkpoint}. " if self._has_checkpoint() else ""
            raise TrainingError(
                f"loss of task {tasks[step]} in epoch {epoch + 1}, step {step + 1}",
                required="a finite loss",
                found=str(float(losses[step])),
                hint=f"{kept}Lower the learning rate or the penalty weight, or check the data.",
            )

    def _check_state(self, task: int) -> None:
        # the last step of an experience has no later loss to betray it
        for name, tensor in self.strategy.state().items():
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                kept = f"The state before it is kept in {self.checkpoint}. " if self._has_checkpoint() else ""
                raise TrainingError(
                    f"'{name}' after learning task {task}",
                    required="finite numbers",
                    found="infinite ones or NaN",
                    hint=f"{kept}Lower the learning rate or the penalty weight, or check the data.",
                )

    def _has_checkpoint(self) -> bool:
        return self.checkpoint is not None and self.checkpoint.is_file()

    def _plain(self, experience: Experience) -> tuple[Tensor, Tensor]:
        self.cache.set_trunk(self.strategy.frozen_trunk)
        return self.cache.plain(experience), experience.train.labels.to(self.device)

    @torch.no_grad()
    def evaluate(self, last: int) -> Tensor:
        """Accuracies (last + 1,) on experiences 0 .. last, in 0..1."""
        accuracies = []
        for experience in list(self.stream)[: last + 1]:
            inputs = self.cache.test(experience, self.split)
            examples = experience.test if self.split == "test" else experience.validation
            assert examples is not None
            predict = self.strategy.prepare(experience.task)
            predicted = torch.cat([predict(part).argmax(1) for part in inputs.split(500)])
            accuracies.append((predicted == examples.labels.to(self.device)).double().mean())
        return torch.stack(accuracies).cpu()

    @contextmanager
    def _clock(self, phase: str) -> Iterator[None]:
        synchronise: Callable[[], None] = torch.cuda.synchronize if self.device.type == "cuda" else lambda: None
        started, saved = time.perf_counter(), self.cache.saved_seconds
        yield
        synchronise()
        # features that another run has computed count as if this one had: seconds are those of the run by itself
        self.result.seconds[phase] += time.perf_counter() - started + self.cache.saved_seconds - saved

    def _save(self, learned: int) -> None:
        assert self.checkpoint is not None
        result = self.result
        tensors = {f"strategy.{name}": tensor for name, tensor in self.strategy.state().items()}
        kept = ("seconds", "seconds_per_experience", "bytes_per_experience", "losses", "curves")
        facts = {**self._identity(), "learned": learned, **{name: getattr(result, name) for name in kept}}
        if self.strategy.frozen_trunk is None:
            del facts["views"]  # which decide nothing without one
        save_checkpoint(self.checkpoint, tensors | {"accuracy": result.accuracy}, facts)

    def _identity(self) -> dict[str, Any]:
        """What decides the outcome, as far as the trainer knows it."""
        return {
            **facts_of(self.stream),
            "strategy": type(self.strategy).__name__,
            "seed": self.seed,
            "epochs": self.epochs,
            "first_epochs": self.first_epochs,
            "batch_size": self.batch_size,
            "split": self.split,
            "precision": self.precision,
            "precision_of_features": self.cache.precision,
            "views": self.cache.views,
            "seed of views": self.cache.seed,
        }

    def _restore(self) -> int:
        assert self.checkpoint is not None
        tensors, facts = load_checkpoint(self.checkpoint, str(self.device))
        check_same_run(self.checkpoint, facts, self._identity(), may_grow=not self.strategy.all_at_once)
        own = {name.removeprefix("strategy."): value for name, value in tensors.items() if name != "accuracy"}
        with explained(self.checkpoint):
            self.strategy.load_state(own)
        self.result = Result(
            enlarged(tensors["accuracy"].cpu(), len(self.stream)),
            facts["seconds"],
            facts["seconds_per_experience"],
            facts["bytes_per_experience"],
            facts["losses"],
            facts["curves"],
        )
        return int(facts["learned"])
