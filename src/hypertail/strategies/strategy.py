"""The contract of a continual-learning strategy: begin a lesson, step, end; predict; state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn

from hypertail.errors import CheckpointError
from hypertail.hyper.roster import Roster, is_of_roster

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Task:
    """What a strategy is told about the experience it is to learn.

    Attributes:
        id: 0 or above; ids may come in any order, and each is learned once.
        classes: number of classes; labels are 0 .. classes-1.
        steps: optimizer steps that will be taken on this experience (1 where the strategy takes none).
        plain: computes all training inputs without augmentation, with their labels.
        name: what the user calls the task; no two tasks may have the same name.
    """

    id: int
    classes: int
    steps: int
    plain: Callable[[], Batch]
    name: str | None = None


class Lesson(ABC):
    """One experience while it is learned: it holds all that is needed for no longer than that.

    `step` is called for every batch, where the strategy takes steps, then `end` once. Meanwhile the strategy predicts
    as at any time.
    """

    @abstractmethod
    def step(self, inputs: Tensor, labels: Tensor, task: int | None = None) -> Tensor:
        """Learn from one batch; the loss on it, detached and still on the device.

        Args:
            inputs: images, or features where the strategy has a `frozen_trunk`.
            labels: 0 .. classes-1.
            task: the task of the batch where the lesson is of several; None for the lesson's own.
        """

    @abstractmethod
    def end(self) -> None:
        """Conclude the task: whatever must be kept of it goes to the strategy now."""

    def state(self) -> dict[str, Tensor] | None:
        """What steps have changed, beside the state of the strategy: with both, a lesson can be gone on with.

        None where a lesson does not say: a run then goes on after its last finished experience.
        """
        return None

    def load_state(self, state: Mapping[str, Tensor]) -> None:  # noqa: B027 -- most lessons have none
        """Go on where another lesson of the same task was; the strategy is as it was then."""


class Strategy(nn.Module, ABC):
    """An algorithm that learns a stream experience by experience.

        lesson = strategy.begin(task)
        for inputs, labels in batches:
            lesson.step(inputs, labels)
        lesson.end()

    `predict` serves any task begun before, at any time. While `frozen_trunk` is None, inputs are images; once it is a
    module, inputs are what that module makes of them, so that the engine can compute features once and keep them.

    Tasks are told apart by their ids, which `state` keeps. Modules are in evaluation mode except where a step trains
    them, and a prediction changes nothing.

    A strategy of one's own is a module that has `begin` and `predict`, and `make_room` where loading a state needs
    parameters that only learning makes, such as heads.
    """

    all_at_once: ClassVar[bool] = False
    """Whether the strategy learns all experiences together (an upper bound, not continual learning): it is told of
    every task by `begin`, and the lesson of the last is that of all of them."""

    takes_steps: ClassVar[bool] = True
    """Whether lessons learn by steps; otherwise `Lesson.end` alone learns, in one pass, and no batches are made."""

    earlier_names: ClassVar[Mapping[str, str]] = {}
    """How names of tensors began in states of earlier versions -> how they begin now."""

    def __init__(self) -> None:
        super().__init__()
        self.training = False
        self._roster = Roster()

    @property
    def roster(self) -> Roster:
        """The tasks begun so far."""
        return self._roster

    @property
    def frozen_trunk(self) -> nn.Module | None:
        """The frozen part that the engine is to apply to images, or None while inputs are images."""
        return None

    @property
    def tasks(self) -> tuple[int, ...]:
        """The ids of the tasks learned, in the order in which they were begun."""
        return tuple(self.roster.classes)

    def id_of(self, name: str) -> int:
        """The id of the task that was begun under `name`.

        Raises:
            ConfigError: there is none; the message names the nearest.
        """
        return self.roster.find(name)

    @abstractmethod
    def begin(self, task: Task) -> Lesson:
        """Make room for a task and start to learn it.

        Raises:
            ConfigError: a task that was learned already; nothing has changed then.
        """

    @abstractmethod
    def predict(self, inputs: Tensor, task: int) -> Tensor:
        """Logits (batch, classes of the task)."""

    def prepare(self, task: int) -> Callable[[Tensor], Tensor]:
        """A predictor for many batches of one task, to be prepared anew after a step.

        Strategies that generate weights do so once here.
        """
        return lambda inputs: self.predict(inputs, task)

    def forward(self, inputs: Tensor, task: int) -> Tensor:
        """The same as `predict`."""
        return self.predict(inputs, task)

    def state(self) -> dict[str, Tensor]:
        """Everything learned so far, between two experiences: the state dict and the list of tasks."""
        return {name: value.detach() for name, value in self.state_dict().items()} | self.roster.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned, in a strategy built with the same arguments.

        The state may lie on another device, and hold floats of another type.

        Raises:
            CheckpointError: tensors that are missing, foreign or of other shapes.
        """
        renamed = self._renamed(state)
        self.make_room(renamed)
        place = next((parameter.device for parameter in self.parameters()), None)
        tensors = OrderedDict((name, value.to(place)) for name, value in renamed.items() if not is_of_roster(name))
        # of this version: torch would fill in what the layers of old ones did not have
        tensors._metadata = self.state_dict()._metadata  # type: ignore[attr-defined]
        try:
            self.load_state_dict(tensors)
        except RuntimeError as error:
            found = [line.strip().rstrip(".") for line in str(error).splitlines()[1:]]
            raise CheckpointError(
                f"saved state of {type(self).__name__}",
                required="the tensors of the strategy as it was built",
                found=found[0] + (f" (and {len(found) - 1} more)" if len(found) > 1 else ""),
                hint="Build the strategy with the same arguments as the saved one, and use a file that was not "
                "changed.",
            ) from error

    def make_room(self, state: Mapping[str, Tensor]) -> None:
        """Restore the list of tasks, and make what `state` has tensors for, before they are loaded."""
        self.roster.load_state(state, "tensors")

    def _renamed(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        renamed = {}
        for name, value in state.items():
            for earlier, now in self.earlier_names.items():
                if name.startswith(earlier) and not name.startswith(now):
                    name = now + name.removeprefix(earlier)
                    break
            renamed[name] = value
        return renamed

    @abstractmethod
    def memory(self) -> dict[str, int]:
        """Bytes that must be kept between two tasks, by purpose, the frozen trunk excepted."""

    def diagnostics(self) -> dict[str, list[float]]:
        """What was recorded step by step, if anything was asked for."""
        return {}


@runtime_checkable
class InfersTask(Protocol):
    """A strategy that finds the task of an input by itself."""

    def infer(self, inputs: Tensor) -> Tensor:
        """The id of the task of each input, (n,)."""


def below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The part of a state below `prefix`, which ends with a dot, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
