"""One stored tail per task behind a frozen trunk: a reference that cannot forget."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from hypertail.hyper import Roster
from hypertail.hyper.roster import ids_in
from hypertail.nets.cut import stage_named
from hypertail.nets.statistics import compute_statistics
from hypertail.strategies.parts.optimisation import Optimisation
from hypertail.strategies.parts.pace import Pace
from hypertail.strategies.parts.trunk import Trunk
from hypertail.strategies.strategy import Strategy, Task, load_module, nbytes, prefixed, unprefixed


class Separate(Strategy):
    """Frozen trunk and one stored tail per task: no forgetting, at the price of a copy per task.

    Args:
        trunk: images -> features.
        tail: builds a freshly initialised tail for (task, classes).
        optimisation: optimizer and schedule.
        pace: where a task takes few steps, the normalisation statistics of its tail are computed anew once it is
            learned, since their running average is still near where it began.
    """

    def __init__(
        self,
        trunk: Trunk,
        tail: Callable[[int, int], nn.Module],
        optimisation: Optimisation,
        *,
        pace: Pace = Pace(),  # noqa: B008 -- immutable
    ) -> None:
        self.trunk, self.make_tail, self.optimisation = trunk, tail, optimisation
        self.pace = pace
        self.tails: dict[int, nn.Module] = {}
        self.roster = Roster()

    @property
    def tasks(self) -> tuple[int, ...]:
        """The ids of the tasks learned."""
        return tuple(self.roster.classes)

    @property
    def frozen_trunk(self) -> nn.Module | None:
        """The trunk, once frozen."""
        return self.trunk.cacheable

    def begin(self, task: Task) -> None:
        """Build the task's tail."""
        self.roster.admit(task.task, task.classes, task.name)
        tail = self.tails[task.task] = self.make_tail(task.task, task.classes).eval()
        leaves = {f"tails.{task.task}.{name}": leaf for name, leaf in tail.named_parameters()}
        self.optimisation.begin(leaves | self.trunk.parameters(), task.steps)

    def step(self, inputs: Tensor, labels: Tensor, task: int) -> Tensor:
        """One Adam step on the task's own tail."""
        tail = self.tails[task].train()
        features = self.trunk(inputs, training=True)
        with stage_named("tail", tail, features):
            loss = F.cross_entropy(tail(features), labels)
        self.optimisation.descend(loss)
        return loss.detach()

    def end(self, task: Task) -> None:
        """Freeze the trunk after the first experience; the tail is never touched again."""
        self.optimisation.end()
        self.trunk.freeze()
        tail = self.tails[task.task]
        if self.pace.is_short(task.steps) and any(True for _ in tail.buffers()):
            features = self.trunk.features(task.plain()[0])
            compute_statistics(tail, dict(tail.named_buffers()), tail.train(), features)
        tail.eval()

    def predict(self, inputs: Tensor, task: int) -> Tensor:
        """Logits of the task's tail."""
        self.roster.check(task)
        return self.tails[task].eval()(self.trunk(inputs, training=False))  # type: ignore[no-any-return]

    def state(self) -> dict[str, Tensor]:
        """Trunk, tasks and tails."""
        state = prefixed("trunk", self.trunk.state()) | self.roster.state()
        for task, tail in self.tails.items():
            state |= prefixed(f"tails.{task}", tail.state_dict())
        return state | prefixed("optimizer", self.optimisation.state())

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore trunk, tasks and tails."""
        self.roster.load_state(state, "tail", holds=ids_in(state, "tails"))
        self.trunk.load_state(unprefixed("trunk", state))
        self.optimisation.load_state(unprefixed("optimizer", state))
        self.tails = {task: self.make_tail(task, classes).eval() for task, classes in self.roster.classes.items()}
        for task, tail in self.tails.items():
            load_module(tail, unprefixed(f"tails.{task}", state), f"tail of task {task}")

    def memory(self) -> dict[str, int]:
        """One tail per task."""
        return {"tails": sum(nbytes(tail.state_dict()) for tail in self.tails.values())}
