"""The two reference lines of an honest comparison: separate tails and joint training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hypertail.errors import unknown_task
from hypertail.strategies.multihead import MultiHead
from hypertail.strategies.optimisation import Optimisation
from hypertail.strategies.strategy import Strategy, Task, nbytes, prefixed, unprefixed
from hypertail.strategies.trunk import Trunk


class Separate(Strategy):
    """Frozen trunk and one stored tail per task: no forgetting, at the price of a copy per task.

    Args:
        trunk: images -> features.
        tail: builds a freshly initialised tail for (task, classes).
        optimisation: optimizer and schedule.
    """

    def __init__(self, trunk: Trunk, tail: Callable[[int, int], nn.Module], optimisation: Optimisation) -> None:
        self.trunk, self.make_tail, self.optimisation = trunk, tail, optimisation
        self.tails: list[nn.Module] = []
        self.classes: list[int] = []

    @property
    def frozen_trunk(self) -> nn.Module | None:
        """The trunk, once frozen."""
        return self.trunk.cacheable

    def begin(self, task: Task) -> None:
        """Build the task's tail."""
        self.tails.append(self.make_tail(task.task, task.classes))
        self.classes.append(task.classes)
        leaves = {f"tails.{task.task}.{name}": leaf for name, leaf in self.tails[-1].named_parameters()}
        self.optimisation.begin(leaves | self.trunk.parameters(), task.steps)

    def step(self, inputs: Tensor, labels: Tensor, task: int) -> Tensor:
        """One Adam step on the task's own tail."""
        tail = self.tails[task].train()
        loss = F.cross_entropy(tail(self.trunk(inputs, training=True)), labels)
        self.optimisation.descend(loss)
        return loss.detach()

    def end(self, task: Task) -> None:
        """Freeze the trunk after the first experience; the tail is never touched again."""
        self.optimisation.end()
        self.trunk.freeze()

    def predict(self, inputs: Tensor, task: int) -> Tensor:
        """Logits of the task's tail."""
        if not 0 <= task < len(self.tails):
            raise unknown_task(task, len(self.tails))
        return self.tails[task].eval()(self.trunk(inputs, training=False))  # type: ignore[no-any-return]

    def state(self) -> dict[str, Tensor]:
        """Trunk and tails."""
        state = prefixed("trunk", self.trunk.state()) | {"classes": torch.tensor(self.classes, dtype=torch.long)}
        for number, tail in enumerate(self.tails):
            state |= prefixed(f"tails.{number}", tail.state_dict())
        return state | prefixed("optimizer", self.optimisation.state())

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore trunk and tails."""
        self.trunk.load_state(unprefixed("trunk", state))
        self.optimisation.load_state(unprefixed("optimizer", state))
        self.classes = state["classes"].tolist()
        self.tails = [self.make_tail(task, classes) for task, classes in enumerate(self.classes)]
        for task, tail in enumerate(self.tails):
            tail.load_state_dict(unprefixed(f"tails.{task}", state))

    def memory(self) -> dict[str, int]:
        """One tail per task."""
        return {"tails": sum(nbytes(tail.state_dict()) for tail in self.tails)}


class Joint(Strategy):
    """All tasks at once, one multi-head model: what could be reached if no data had to go.

    Args:
        model: the whole main model, images -> logits.
        optimisation: optimizer and schedule.
        seed: initialises the heads.
    """

    all_at_once: ClassVar[bool] = True

    def __init__(self, model: nn.Module, optimisation: Optimisation, *, seed: int = 0) -> None:
        self.model, self.optimisation = MultiHead(copy.deepcopy(model), seed), optimisation

    def begin(self, task: Task) -> None:
        """Add a head; called once for every task before the first step."""
        self.model.add_task(task.classes)
        self.optimisation.begin(dict(self.model.named_parameters()), task.steps)

    def step(self, inputs: Tensor, labels: Tensor, task: int) -> Tensor:
        """One Adam step on a batch of one of the tasks."""
        self.model.train()
        loss = F.cross_entropy(self.model(inputs, task), labels)
        self.optimisation.descend(loss)
        return loss.detach()

    def end(self, task: Task) -> None:
        """Nothing to conclude."""

    def predict(self, inputs: Tensor, task: int) -> Tensor:
        """Logits of the task's head."""
        self.model.eval()
        return self.model(inputs, task)  # type: ignore[no-any-return]

    def state(self) -> dict[str, Tensor]:
        """The model."""
        return prefixed("model", self.model.state_dict())

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore the model."""
        self.model.load_heads(unprefixed("model", state))

    def memory(self) -> dict[str, int]:
        """The model itself (and, in truth, all data)."""
        return {"model": nbytes(self.model.state_dict())}
