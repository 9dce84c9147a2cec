"""A frozen pretrained tail and an adapter for each task: what parameter-efficient fine-tuning does, as a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from hypertail.errors import ConfigError
from hypertail.hyper.roster import ids_in
from hypertail.hyper.task_state import check_tensors
from hypertail.nets.cut import stage_named
from hypertail.nets.frozen import Frozen
from hypertail.nets.task_tail import AdaptedWeights, TaskTail
from hypertail.nets.tensors import BufferDict, nbytes
from hypertail.seeds import generator
from hypertail.strategies.parts.descending import DescendingLesson
from hypertail.strategies.parts.optimisation import Optimisation
from hypertail.strategies.parts.trunk import Trunk
from hypertail.strategies.strategy import Strategy, Task, below


class Adapters(Strategy):
    """Each task owns norm scales, shifts and statistics, a classifier, and a low-rank change of every weight.

    Trunk and tail stay as they are, so that no task can change another (`AdaptedWeights`).

    Args:
        trunk: images -> features; frozen.
        body: features -> (n, width): the tail that was trained with the trunk, without its classifier.
        width: numbers that it gives.
        optimisation: optimizer and schedule.
        rank: of the change of each weight; 0 for none.
        seed: drives the factors that adapters begin with.

    Raises:
        ConfigError: a trunk that still learns.
    """

    def __init__(
        self, trunk: Trunk, body: nn.Module, width: int, optimisation: Optimisation, *, rank: int = 8, seed: int = 0
    ) -> None:
        super().__init__()
        if trunk.learning:
            raise ConfigError(
                "adapters above a trunk that learns",
                required="a trunk that is frozen, with the tail that was trained with it",
                found="one that learns with the first task",
                hint="Train the trunk first: Trunk(module, learns=False).",
            )
        self.trunk, self.body, self.width = trunk, Frozen(body), width
        self.optimisation, self.rank, self.seed = optimisation, rank, seed
        self.tails, self.moments = nn.ModuleDict().eval(), BufferDict()

    @property
    def frozen_trunk(self) -> nn.Module | None:
        """The trunk."""
        return self.trunk.cacheable

    def tail(self, task: int) -> TaskTail:
        """The tail of a task.

        Raises:
            ConfigError: the task was never begun.
        """
        self.roster.check(task)
        return cast(TaskTail, self.tails[str(task)])

    def begin(self, task: Task) -> AdapterLesson:
        """Begin the task's adapters, which add nothing yet."""
        self.roster.admit(task.id, task.classes, task.name)
        self._add(task.id, task.classes)
        return AdapterLesson(self, task)

    def _add(self, task: int, classes: int) -> None:
        weights = AdaptedWeights(self.body.module, self.rank, generator(self.seed, "adapter", task))
        tail = TaskTail(self.body.module, weights, self.width, classes)
        like = next(self.body.parameters(), None)
        self.tails[str(task)] = tail if like is None else tail.to(like)

    def predict(self, inputs: Tensor, task: int) -> Tensor:
        """Logits of the task's tail."""
        tail = self.tail(task).eval()
        return tail(self.trunk.features(inputs, training=False))  # type: ignore[no-any-return]

    def make_room(self, state: Mapping[str, Tensor]) -> None:
        """Restore the tasks and make their tails."""
        self.roster.load_state(state, "adapters", holds=ids_in(state, "tails"))
        self.tails.clear()
        for task, classes in self.roster.classes.items():
            self._add(task, classes)
            saved = below(f"tails.{task}.statistics.", state)
            check_tensors(f"statistics of task {task}", saved, self.tail(task).statistics)

    def memory(self) -> dict[str, int]:
        """What each task owns; the frozen tail belongs to the pretrained model, as the trunk does."""
        return {"adapters": nbytes(self.tails.state_dict().values())}


class AdapterLesson(DescendingLesson):
    """Adam on the cross-entropy of the task's own tail."""

    def __init__(self, strategy: Adapters, task: Task) -> None:
        self.strategy, self.task, self.tail = strategy, task, strategy.tail(task.id)
        leaves = {f"tails.{task.id}.{name}": leaf for name, leaf in self.tail.named_parameters()}
        groups = {"tail": leaves, "trunk": strategy.trunk.group()}
        self.descent = strategy.optimisation.begin(groups, task.steps, strategy.moments, own=leaves)

    def step(self, inputs: Tensor, labels: Tensor, task: int | None = None) -> Tensor:
        """One step on the cross-entropy."""
        tail = self.tail.train()
        features = self.strategy.trunk.features(inputs, training=True)
        with stage_named("tail", self.strategy.body, features):
            loss = F.cross_entropy(tail(features), labels)
        self.descent.descend(loss)
        return loss.detach()

    def end(self) -> None:
        """Take the statistics over all of the task's images; the tail is never touched again."""
        self.descent.end()
        self.tail.eval()
        self.tail.recompute_statistics(self.strategy.trunk.all_features(self.task.plain()[0]))
