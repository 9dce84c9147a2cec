"""The loop over the experiences of a stream, with accuracies and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from hypertail.errors import ConfigError
from hypertail.storage.generations import is_saved, load_generation, save_generation
from hypertail.strategies import Lesson, Strategy
from hypertail.strategies.strategy import below
from hypertail.streams import Experience, Stream
from hypertail.training.answers import FirstAnswers, answers_of
from hypertail.training.clock import Clock
from hypertail.training.features.cache import FeatureCache, warn
from hypertail.training.interval import Interval
from hypertail.training.loop import Loop, Position, Progress, check_length, silent
from hypertail.training.precision import Precision
from hypertail.training.result import Result
from hypertail.training.resume import check_same_run, enlarged, explained, facts_of
from hypertail.training.stop import Stop
from hypertail.training.within import Unfinished, Within

Split = Literal["test", "validation"]

_FIRST = "answers."
"""Before the names of tensors that older checkpoints lack."""


def unheard(task: int, accuracies: Tensor) -> None:
    """Tells nobody."""


class Trainer:
    """Runs one strategy over one stream.

    Every random choice follows from (seed, purpose, task, epoch, step), so a run continued from a checkpoint takes the
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
        checkpoint: written after each experience, and the one before it kept beside it; None for none.
        save_every: how often the state within an experience is saved too, beside the checkpoint.
        stop: asked after each step whether to save and stop.
        may_save: called before each writing; raises what is to end the run where the place is no longer its own.
        notice: told of a saved state that cannot be used.
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
        save_every: Interval = Interval(),  # noqa: B008 -- immutable
        stop: Stop | None = None,
        may_save: Callable[[], None] = lambda: None,
        notice: Callable[[str], None] = warn,
        progress: Progress = silent,
        learned: Callable[[int, Tensor], None] = unheard,
    ) -> None:
        check_length(epochs, batch_size, first_epochs)
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
        self._clock = Clock(self.result, self.device, lambda: self.cache.saved_seconds)
        self.loop = Loop(
            strategy,
            self.cache,
            batch_size=batch_size,
            seed=seed,
            device=self.device,
            precision=precision,
            clock=self._clock,
            kept=self._kept,
        )
        self._first = FirstAnswers()
        self._done = 0
        self.stop, self.notice, self.may_save = stop or Stop(), notice, may_save
        self._within = None if checkpoint is None else Within(checkpoint, save_every, notice)
        self._started = 0.0
        self._before: dict[str, list[float]] = {}

    def run(self, *, resume: bool = False) -> Result:
        """Learn the stream, or what is left of it, and return what was measured.

        A stream that grew goes on with its new experiences, behind those of the checkpoint, which must be unchanged.
        Build the strategy as before: the result is bit for bit that of an uninterrupted run of this strategy over the
        longer stream. A hypernetwork makes room for new tasks by itself; one that is built for more tasks from the
        start begins with other random numbers, so that it is another run and refused.

        Args:
            resume: continue after the last experience in the checkpoint, if there is one.

        Raises:
            KeyboardInterrupt: `stop` was requested; all steps taken are saved.
            CheckpointError: the checkpoint is damaged, or of a run of another strategy, length, batch size, seed,
                precision, split or of other data.
            TrainingError: the loss became infinite or NaN.
        """
        first = self._restore() if resume and self.checkpoint is not None and is_saved(self.checkpoint) else 0
        everything = list(self.stream)
        groups = [everything] if self.strategy.all_at_once else [[experience] for experience in everything]
        self._done = sum(self._steps(e) for group in groups[:first] for e in group)
        self._total = sum(self._steps(experience) for experience in everything)
        for task in range(first):
            self.learned(task, self.result.accuracy[task, : task + 1])
        for group in groups[first:]:
            self._started = self._clock.now()
            unfinished, last = self._unfinished(group) if resume else None, group[-1].task
            with self.stop.heeded():
                self._learn(group, unfinished)
                with self._clock("evaluation"):
                    self._measure(last)
                # experiences learned together share the time they took
                seconds = self._elapsed() / len(group)
                self.result.seconds_per_experience += [seconds] * len(group)
                self.result.bytes_per_experience += [sum(self.strategy.memory().values())] * len(group)
                if self.checkpoint is not None:
                    self._save(last + 1)
            self.learned(last, self.result.accuracy[last, : last + 1])
            if self.stop.requested:
                self.stop.now()
        if self._within is not None:
            self._within.clear()  # of a process that was killed before it could
        self._record()
        return self.result

    def _epochs(self, task: int) -> int:
        return self.first_epochs if task == 0 else self.epochs

    def _steps(self, experience: Experience) -> int:
        return self.loop.steps(experience, self._epochs(experience.task))

    def _elapsed(self) -> float:
        """Seconds that this experience has taken."""
        return self._clock.now() - self._started

    def _learn(self, group: list[Experience], unfinished: Unfinished | None) -> None:
        epochs, last = self._epochs(group[0].task), group[-1].task
        steps = sum(self._steps(experience) for experience in group) // epochs
        if unfinished is None:
            self.result.losses.append([])
        else:
            self._take(unfinished.facts, unfinished.tensors)
            self._started -= unfinished.facts["elapsed"]
            self._done += steps * unfinished.position.epoch

        def begun(lesson: Lesson) -> Position | None:
            if unfinished is None:
                return None
            assert self.checkpoint is not None
            with explained(self.checkpoint):
                unfinished.put(self.strategy, lesson)
            return unfinished.position

        def after_step(lesson: Lesson, epoch: int, losses: Tensor) -> None:
            stopping = self.stop.requested
            if self._within is not None and (stopping or self._within.is_due(epoch)):
                self.may_save()
                self.loop.check(losses, group[0].task, epoch)
                facts = self._facts(group[0].task) | {"epoch": epoch, "elapsed": self._elapsed()}
                save = self._within.save if stopping else self._within.try_to_save
                save(self.strategy, lesson, {**self.result.tensors(), "losses": losses}, facts)
            if stopping:
                self.stop.now()

        def after_epoch(epoch: int, loss: float) -> None:
            self._done += steps
            self.result.losses[-1].append(loss)
            where = f"experience {last + 1}/{len(self.stream)}, epoch {epoch + 1}/{epochs}"
            self.progress(self._done, self._total, f"{where}, loss {loss:.3f}")
            if self.eval_every and (epoch + 1) % self.eval_every == 0 and epoch + 1 < epochs:
                with self._clock("evaluation"):
                    accuracies = self.evaluate(last).tolist()
                self.result.curves.append({"task": last, "epoch": epoch + 1, "accuracy": accuracies})

        names = [self.stream.task_name(experience.task) for experience in group]
        if self._within is not None:
            self._within.begin(unfinished.position.epoch if unfinished is not None else 0)
        self.loop.learn(group, names, epochs=epochs, after_epoch=after_epoch, begun=begun, after_step=after_step)
        if not self.strategy.takes_steps:
            self._done += len(group)
            self.progress(self._done, self._total, f"experience {last + 1}/{len(self.stream)}")

    def _kept(self) -> str:
        """The last good states, for an error."""
        if self._within is not None and self._within.path.is_file():
            return f"The last good state is kept in {self._within.path}. "
        there = self.checkpoint is not None and self.checkpoint.is_file()
        return f"The state before this experience is kept in {self.checkpoint}. " if there else ""

    def evaluate(self, last: int) -> Tensor:
        """Accuracies (last + 1,) on experiences 0 .. last, in 0..1."""
        return self._accuracies(self._answers(last))

    def _answers(self, last: int) -> list[Tensor]:
        learned = list(self.stream)[: last + 1]
        return [answers_of(self.strategy, e.task, self.cache.test(e, self.split)) for e in learned]

    def _accuracies(self, answers: list[Tensor]) -> Tensor:
        right = []
        for experience, answered in zip(self.stream, answers, strict=False):
            labels = experience.examples(self.split).labels.to(self.device)
            right.append((answered == labels).double().mean())
        return torch.stack(right).cpu()

    def _measure(self, last: int) -> None:
        """After an experience: how many answers are right, and how many are others than they were."""
        answers = self._answers(last)
        self.result.accuracy[last, : last + 1] = self._accuracies(answers)
        if not self.strategy.all_at_once:
            self._first.record(last, answers[last])
            self.result.changed = self._first.changed(answers)

    def _save(self, learned: int) -> None:
        assert self.checkpoint is not None
        tensors = {f"strategy.{name}": tensor for name, tensor in self.strategy.state().items()}
        self.may_save()
        tensors |= {f"{_FIRST}{name}": answers for name, answers in self._first.state().items()}
        facts = self._facts(learned)
        save_generation(self.checkpoint, tensors | self.result.tensors(), facts)
        if self._within is not None:
            self._within.clear()

    def _facts(self, learned: int) -> dict[str, Any]:
        """What a checkpoint says beside its tensors, the result being brought up to date."""
        self._record()
        facts = {**self._identity(), "learned": learned, **self.result.facts(), "seconds": self._clock.so_far()}
        if self.strategy.frozen_trunk is None:
            facts.pop("views", None)  # which decide nothing without one
        return facts

    def _unfinished(self, group: list[Experience]) -> Unfinished | None:
        """What was saved within this experience, if that can be used."""
        if self._within is None or not self.strategy.takes_steps:
            return None
        check = partial(check_same_run, own=self._identity(), may_grow=not self.strategy.all_at_once)
        return self._within.read(group[0].task, check)

    def _identity(self) -> dict[str, Any]:
        """What decides the outcome, as far as the trainer knows it."""
        views = {"views": self.cache.views} if self.strategy.takes_steps else {}
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
            **views,
            "seed of views": self.cache.seed,
        }

    def _restore(self) -> int:
        assert self.checkpoint is not None
        tensors, facts = load_generation(self.checkpoint, self.notice, str(self.device))
        check_same_run(self.checkpoint, facts, self._identity(), may_grow=not self.strategy.all_at_once)
        with explained(self.checkpoint):
            self.strategy.load_state(below("strategy.", tensors))
            self._first.load_state(below(_FIRST, tensors))
        self.result.accuracy = enlarged(tensors["accuracy"].cpu(), len(self.stream))
        self._take(facts, tensors)
        return int(facts["learned"])

    def _take(self, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.result.take(facts, tensors)
        self._before = self.result.recorded

    def _record(self) -> None:
        """What was recorded before the run went on, and since."""
        since = self.strategy.diagnostics()
        self.result.recorded = {
            name: self._before.get(name, []) + since.get(name, []) for name in {**self._before, **since}
        }
