"""One stored tail per task behind a frozen trunk: a reference that cannot forget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from hypertail.hyper.roster import ids_in
from hypertail.nets.cut import stage_named
from hypertail.nets.statistics import compute_statistics
from hypertail.nets.tensors import BufferDict, nbytes
from hypertail.strategies.parts.descending import DescendingLesson
from hypertail.strategies.parts.optimisation import Optimisation
from hypertail.strategies.parts.pace import Pace
from hypertail.strategies.parts.trunk import Trunk
from hypertail.strategies.strategy import Strategy, Task


class Separate(Strategy):
    """Frozen trunk and one stored tail per task: no forgetting, at the price of a copy per task.

    Args:
        trunk: images -> features.
        tail: builds a freshly initialised tail for (task, classes).
        optimisation: optimizer and schedule.
        pace: where a task takes few steps, the normalisation statistics of its tail are computed anew once it is
            learned, since their running average is still near where it began.
    """

    earlier_names: ClassVar[Mapping[str, str]] = {"trunk.": "trunk.module.", "optimizer.": "moments."}

    def __init__(
        self,
        trunk: Trunk,
        tail: Callable[[int, int], nn.Module],
        optimisation: Optimisation,
        *,
        pace: Pace = Pace(),  # noqa: B008 -- immutable
    ) -> None:
        super().__init__()
        self.trunk, self.make_tail, self.optimisation = trunk, tail, optimisation
        self.pace = pace
        self.tails, self.moments = nn.ModuleDict().eval(), BufferDict()

    @property
    def frozen_trunk(self) -> nn.Module | None:
        """The trunk, once frozen."""
        return self.trunk.cacheable

    def tail(self, task: int) -> nn.Module:
        """The tail of a task.

        Raises:
            ConfigError: the task was never begun.
        """
        self.roster.check(task)
        return self.tails[str(task)]

    def begin(self, task: Task) -> SeparateLesson:
        """Build the task's tail."""
        self.roster.admit(task.id, task.classes, task.name)
        self.tails[str(task.id)] = self.make_tail(task.id, task.classes).eval()
        return SeparateLesson(self, task)

    def predict(self, inputs: Tensor, task: int) -> Tensor:
        """Logits of the task's tail."""
        tail = self.tail(task).eval()
        return tail(self.trunk.features(inputs, training=False))  # type: ignore[no-any-return]

    def make_room(self, state: Mapping[str, Tensor]) -> None:
        """Restore the tasks and build their tails."""
        self.roster.load_state(state, "tail", holds=ids_in(state, "tails"))
        self.tails.clear()
        for task, classes in self.roster.classes.items():
            self.tails[str(task)] = self.make_tail(task, classes).eval()

    def memory(self) -> dict[str, int]:
        """One tail per task."""
        return {"tails": nbytes(self.tails.state_dict().values())}


class SeparateLesson(DescendingLesson):
    """Adam on the cross-entropy of the task's own tail, and of the trunk while it learns."""

    def __init__(self, strategy: Separate, task: Task) -> None:
        self.strategy, self.task, self.trunk, self.tail = strategy, task, strategy.trunk, strategy.tail(task.id)
        leaves = {f"tails.{task.id}.{name}": leaf for name, leaf in self.tail.named_parameters()}
        groups = {"tail": leaves, "trunk": self.trunk.group()}
        self.descent = strategy.optimisation.begin(groups, task.steps, strategy.moments, own=leaves)

    def step(self, inputs: Tensor, labels: Tensor, task: int | None = None) -> Tensor:
        """One step on the cross-entropy."""
        tail = self.tail.train()
        features = self.trunk.features(inputs, training=True)
        with stage_named("tail", tail, features):
            loss = F.cross_entropy(tail(features), labels)
        self.descent.descend(loss)
        return loss.detach()

    def end(self) -> None:
        """Freeze the trunk after the first experience; the tail is never touched again."""
        self.descent.end()
        self.trunk.freeze()
        tail = self.tail
        if self.strategy.pace.is_short(self.task.steps) and any(True for _ in tail.buffers()):
            features = self.trunk.all_features(self.task.plain()[0])
            compute_statistics(tail, dict(tail.named_buffers()), tail.train(), features)
        tail.eval()
