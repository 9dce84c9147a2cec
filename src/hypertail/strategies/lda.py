"""Class means and one covariance of what a frozen network gives: no step is taken, and tasks need not be told."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hypertail.hyper.roster import ids_in
from hypertail.hyper.task_state import check_tensors
from hypertail.nets.moments import Discriminant, Moments, pooled_covariance
from hypertail.nets.pooled import pooled
from hypertail.nets.tensors import BuffersOfTasks, nbytes
from hypertail.strategies.parts.trunk import Trunk
from hypertail.strategies.strategy import Lesson, Strategy, Task, below

MOMENTS = ("counts", "means", "scatter")


class Described(nn.Module):
    """Images -> means and deviations of trunk features over positions, beside what the pretrained tail makes of them.

    Args:
        trunk: images -> features (n, channels, h, w) or (n, channels).
        body: features -> (n, width).
    """

    def __init__(self, trunk: nn.Module, body: nn.Module) -> None:
        super().__init__()
        self.trunk, self.body = trunk, body

    def forward(self, images: Tensor) -> Tensor:
        """The vectors, (n, numbers)."""
        features = self.trunk(images)
        return torch.cat((pooled(features), self.body(features)), dim=1)


class Lda(Strategy):
    """Linear discriminant analysis with a ridge, in one pass (streaming LDA; Hayes & Kanan, 2020,
    https://arxiv.org/abs/1909.01520). Moments add up, so that the order of tasks does not matter.

    Args:
        trunk: images -> vectors (`Described`); frozen.
        ridge: share of the mean variance that is added to the diagonal of the covariance.
    """

    def __init__(self, trunk: Trunk, *, ridge: float = 1e-2) -> None:
        super().__init__()
        self.trunk, self.ridge = trunk, ridge
        self.moments = BuffersOfTasks()
        self._discriminant: Discriminant | None = None

    @property
    def frozen_trunk(self) -> nn.Module | None:
        """What gives the vectors."""
        return self.trunk.cacheable

    def begin(self, task: Task) -> LdaLesson:
        """Make room for the task's moments."""
        self.roster.admit(task.id, task.classes, task.name)
        self.moments[task.id] = {"counts": torch.zeros(task.classes, dtype=torch.float64)}
        return LdaLesson(self, task)

    def learn(self, task: int, moments: Moments) -> None:
        """Add a task's moments to what is known."""
        self.moments[task] = {"counts": moments.counts, "means": moments.means, "scatter": moments.scatter}
        self._discriminant = None

    def logits(self, vectors: Tensor) -> Tensor:
        """Of all classes of all tasks, in the order in which they were begun."""
        if self._discriminant is None:
            sets = [Moments(*(self.moments[task][name].cpu() for name in MOMENTS)) for task in self._columns()]
            means = torch.cat([each.means for each in sets])
            self._discriminant = Discriminant(means, pooled_covariance(sets), self.ridge)
        return self._discriminant.logits(vectors.cpu()).to(vectors.device)

    def predict(self, inputs: Tensor, task: int) -> Tensor:
        """Logits of the task's classes."""
        self.roster.check(task)
        vectors = self.trunk.features(inputs, training=False)
        columns = self._columns()
        if task not in columns:
            return vectors.new_zeros(len(vectors), self.roster.classes[task])
        start, end = columns[task]
        return self.logits(vectors)[:, start:end].to(vectors.dtype)

    def infer(self, inputs: Tensor) -> Tensor:
        """The id of the task of each input, (n,): that of the nearest class."""
        best = self.logits(self.trunk.features(inputs, training=False)).argmax(1)
        owners = torch.cat([torch.full((end - start,), task) for task, (start, end) in self._columns().items()])
        return owners.to(best.device)[best]

    def _columns(self) -> dict[int, tuple[int, int]]:
        """Task id -> its columns among the logits of all classes; not of a task that is still being learned."""
        found, start = {}, 0
        for task, classes in self.roster.classes.items():
            if len(self.moments[task]) == len(MOMENTS):
                found[task] = (start, start + classes)
                start += classes
        return found

    def make_room(self, state: Mapping[str, Tensor]) -> None:
        """Restore the tasks."""
        self.roster.load_state(state, "moments", holds=ids_in(state, "moments"))
        self.moments.clear()
        for task, classes in self.roster.classes.items():
            saved = below(f"moments.{task}.", state)
            width = saved["means"].shape[-1] if "means" in saved else 0
            shapes = {"counts": (classes,), "means": (classes, width), "scatter": (width, width)}
            fresh = shapes if len(saved) > 1 else {"counts": (classes,)}
            expected = {name: torch.empty(shape, dtype=torch.float64) for name, shape in fresh.items()}
            check_tensors(f"moments of task {task}", saved, expected)
            self.moments[task] = saved
        self._discriminant = None

    def memory(self) -> dict[str, int]:
        """Class means, and the covariance: one for all tasks would do, since they add up."""
        one = [self.moments[task] for task in self.moments]
        scatters = [each["scatter"] for each in one if "scatter" in each]
        means = nbytes(value for each in one for name, value in each.items() if name != "scatter")
        return {"means": means, "covariance": nbytes(scatters[:1])}


class LdaLesson(Lesson):
    """Nothing is learned by steps."""

    def __init__(self, strategy: Lda, task: Task) -> None:
        self.strategy, self.task = strategy, task

    def step(self, inputs: Tensor, labels: Tensor, task: int | None = None) -> Tensor:
        """No step; a loss of 0."""
        return inputs.new_zeros(())

    def state(self) -> dict[str, Tensor]:
        """Nothing has changed."""
        return {}

    def end(self) -> None:
        """Take the moments of all of the task's vectors."""
        inputs, labels = self.task.plain()
        vectors = self.strategy.trunk.all_features(inputs)
        moments = Moments.of(vectors.cpu(), labels.cpu(), self.task.classes)
        self.strategy.learn(self.task.id, moments)
