"""The contract of a continual-learning strategy: begin, step, end, predict, state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from hypertail.errors import CheckpointError
from hypertail.hyper.roster import Roster

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Task:
    """What a strategy is told about the experience it is to learn.

    Attributes:
        task: task id, 0 or above; ids may come in any order, and each is learned once.
        classes: number of classes; labels are 0 .. classes-1.
        steps: optimizer steps that will be taken on this experience.
        plain: computes all training inputs without augmentation, with their labels.
        name: what the user calls the task; no two tasks may have the same name.
    """

    task: int
    classes: int
    steps: int
    plain: Callable[[], Batch]
    name: str | None = None


class Strategy(ABC):
    """An algorithm that learns a stream experience by experience.

    The engine calls `begin(task)`, then `step(...)` for every batch, then `end(task)`, and `predict` at any time
    for tasks begun before. While `frozen_trunk` is None, inputs are images; once it is a module, inputs are what that
    module makes of them, so that the engine can compute features once and keep them.

    Tasks are told apart by their ids, which `state` keeps. Modules are in evaluation mode except where `step` trains
    them, and a prediction changes nothing.
    """

    all_at_once: ClassVar[bool] = False
    """Whether the strategy learns all experiences together (an upper bound, not continual learning)."""

    @property
    def frozen_trunk(self) -> nn.Module | None:
        """The frozen part that the engine is to apply to images, or None while inputs are images."""
        return None

    @property
    def tasks(self) -> tuple[int, ...]:
        """The ids of the tasks learned, in the order in which they were begun."""
        ids = self.state().get("tasks")
        return () if ids is None else tuple(ids.tolist())

    def id_of(self, name: str) -> int:
        """The id of the task that was begun under `name`.

        Raises:
            ConfigError: there is none; the message names the nearest.
        """
        roster = Roster()
        roster.load_names(self.state())
        return roster.find(name)

    @abstractmethod
    def begin(self, task: Task) -> None:
        """Prepare to learn a task.

        Raises:
            ConfigError: a task that was learned already; nothing has changed then.
        """

    @abstractmethod
    def step(self, inputs: Tensor, labels: Tensor, task: int) -> Tensor:
        """Learn from one batch of one task; the loss on it, detached and still on the device."""

    @abstractmethod
    def end(self, task: Task) -> None:
        """Conclude a task: whatever must be kept of it is stored now."""

    @abstractmethod
    def predict(self, inputs: Tensor, task: int) -> Tensor:
        """Logits (batch, classes of the task)."""

    def prepare(self, task: int) -> Callable[[Tensor], Tensor]:
        """A predictor for many batches of one task, to be prepared anew after a step.

        Strategies that generate weights do so once here.
        """
        return lambda inputs: self.predict(inputs, task)

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Everything learned so far, between two experiences."""

    @abstractmethod
    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned, in a strategy built with the same arguments."""

    @abstractmethod
    def memory(self) -> dict[str, int]:
        """Bytes that must be kept between two tasks, by purpose, the frozen trunk excepted."""

    def diagnostics(self) -> dict[str, list[float]]:
        """What was recorded step by step, if anything was asked for."""
        return {}


def load_module(module: nn.Module, state: dict[str, Tensor], what: str) -> None:
    """Load a state dict that must fit.

    Raises:
        CheckpointError: naming the first tensor that is missing, foreign or of another shape.
    """
    own = module.state_dict()
    wrong = [f"no '{name}'" for name in own if name not in state]
    wrong += [f"'{name}', which it has not" for name in state if name not in own]
    wrong += [
        f"'{name}' of shape {tuple(state[name].shape)} where it has {tuple(value.shape)}"
        for name, value in own.items()
        if name in state and state[name].shape != value.shape
    ]
    if wrong:
        raise CheckpointError(
            f"saved {what} does not fit",
            required=f"the tensors of the {what} as it was built",
            found=wrong[0] + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""),
            hint="Build the strategy with the same arguments as the saved one, and use a file that was not changed.",
        )
    module.load_state_dict(state)


def nbytes(tensors: dict[str, Tensor]) -> int:
    """Bytes of a dict of tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, detached, under `prefix.name`."""
    return {f"{prefix}.{name}": tensor.detach() for name, tensor in tensors.items()}


def unprefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix.`, without it."""
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(prefix + ".")}
