"""The state of a run within an experience: beside the checkpoint of the last finished one, and as safe."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hypertail.errors import CheckpointError
from hypertail.storage.checkpoint import load_checkpoint, save_checkpoint
from hypertail.strategies import Lesson, Strategy
from hypertail.strategies.strategy import below
from hypertail.training.interval import Interval
from hypertail.training.loop import Position


def unfinished_of(checkpoint: Path) -> Path:
    """Where the state within an experience lies."""
    return checkpoint.with_name(f"{checkpoint.stem}.unfinished{checkpoint.suffix}")


@dataclass(frozen=True, eq=False)
class Unfinished:
    """An experience that was begun.

    Attributes:
        tensors: `strategy.NAME`, `lesson.NAME`, `losses` and those of a `Result`.
        facts: those of a checkpoint, with `epoch` and `elapsed`, in seconds.
    """

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    @property
    def position(self) -> Position:
        """How far it was learned."""
        return Position(int(self.facts["epoch"]), self.tensors["losses"])

    @torch.no_grad()
    def put(self, strategy: Strategy, lesson: Lesson) -> None:
        """Bring a strategy and a lesson that have just begun the experience to where they were.

        Values are copied into the tensors that are there, since the lesson learns those.

        Raises:
            KeyError, RuntimeError: tensors that are missing, or of other shapes.
        """
        saved = below("strategy.", self.tensors)
        for name, value in strategy.state().items():
            value.copy_(saved[name])
        lesson.load_state(below("lesson.", self.tensors))


class Within:
    """Saves the state of a run within an experience, every so often.

    Args:
        checkpoint: of the run; the file lies beside it.
        every: how often.
        notice: told of a file that cannot be used, or written.
    """

    def __init__(self, checkpoint: Path, every: Interval, notice: Callable[[str], None]) -> None:
        self.path, self.every, self.notice = unfinished_of(checkpoint), every, notice
        self._saved, self._epoch = 0.0, 0

    def begin(self, epoch: int = 0) -> None:
        """An experience begins now, or goes on in an epoch."""
        self._saved, self._epoch = time.monotonic(), epoch

    def is_due(self, epoch: int) -> bool:
        """Whether it is time to save, after a step of an epoch."""
        return self.every.is_over(time.monotonic() - self._saved, epoch - self._epoch)

    def save(self, strategy: Strategy, lesson: Lesson, measured: Mapping[str, Tensor], facts: dict[str, Any]) -> None:
        """Save all that the experience can go on from; nothing where the lesson does not say what it is.

        Args:
            strategy: that learns.
            lesson: of the experience.
            measured: `losses` and what else is kept beside the state.
            facts: of a checkpoint, with `epoch` and `elapsed`.

        Raises:
            CheckpointError: it cannot be written; what was saved before is kept.
        """
        self.begin(facts["epoch"])
        state = lesson.state()
        if state is None:
            return
        tensors = {f"strategy.{name}": value for name, value in strategy.state().items()}
        tensors |= {f"lesson.{name}": value for name, value in state.items()}
        save_checkpoint(self.path, {**tensors, **measured}, facts)

    def try_to_save(
        self, strategy: Strategy, lesson: Lesson, measured: Mapping[str, Tensor], facts: dict[str, Any]
    ) -> None:
        """The same; where it cannot be written, a notice says so and the run goes on."""
        try:
            self.save(strategy, lesson, measured, facts)
        except CheckpointError as error:
            self.notice(f"{error.problem}: {error.found}. The run goes on and tries it again after {self.every}.")

    def read(self, task: int, check: Callable[[Path, Mapping[str, Any]], None]) -> Unfinished | None:
        """What was saved within the experience of `task`; None, and a notice, where that cannot be used.

        Raises:
            CheckpointError: it is of another run (`check`).
        """
        if not self.path.is_file():
            return None
        try:
            tensors, facts = load_checkpoint(self.path)
        except CheckpointError as error:
            self.notice(f"{error.problem}: {error.found}. The run goes on after its last finished experience.")
            return None
        if facts.get("learned") != task:
            return None  # older than the checkpoint: the process ended between the two
        check(self.path, facts)
        return Unfinished(tensors, facts)

    def clear(self) -> None:
        """Delete what was saved within an experience that is finished, as far as that can be: nothing depends on it."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
