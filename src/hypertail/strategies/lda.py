"""Class means and one covariance of what a frozen network gives: no step is taken, and tasks need not be told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hypertail.errors import CheckpointError, check_range
from hypertail.hyper.roster import ids_in
from hypertail.hyper.task_state import check_tensors
from hypertail.nets.moments import Discriminant, Moments, pooled_covariance
from hypertail.nets.pooled import pooled
from hypertail.nets.tensors import BufferDict, BuffersOfTasks, nbytes
from hypertail.seeds import generator
from hypertail.strategies.parts.trunk import Trunk
from hypertail.strategies.strategy import Lesson, Strategy, Task, below

SCATTER = "shared.scatter"
"""In a state: of the vectors of all tasks."""
SEED = "projection.seed"
"""In a state: of the projection, which is drawn again from it."""


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


class RandomProjection:
    """x -> relu(x W), W (numbers, width) of independent N(0, 1): products of features that one covariance cannot see.

    W follows from the seed and is drawn when first needed, so that it is never stored.

    Args:
        width: numbers it gives.
        seed: of W.
    """

    def __init__(self, width: int, seed: int) -> None:
        self.width, self.seed = width, seed
        self._drawn = torch.empty(0, width, dtype=torch.float64)

    def __call__(self, vectors: Float[Tensor, "n numbers"]) -> Float[Tensor, "n width"]:
        """The projected vectors, float64, on the CPU."""
        numbers = vectors.shape[1]
        if len(self._drawn) != numbers:
            random = generator(self.seed, "projection")
            self._drawn = torch.randn(numbers, self.width, generator=random, dtype=torch.float64)
        return torch.relu(vectors.cpu().double() @ self._drawn)


class Lda(Strategy):
    """Linear discriminant analysis with a ridge, in one pass (streaming LDA; Hayes & Kanan, 2020,
    https://arxiv.org/abs/1909.01520). Moments add up, so that the order of tasks does not matter.

    With a projection, of vectors that went through `RandomProjection` before, as in RanPAC (McDonnell et al., 2023,
    https://arxiv.org/abs/2307.02251), which however solves a ridge regression with the second moments of all
    vectors, where this takes the covariance within classes.

    Args:
        trunk: images -> vectors (`Described`); frozen.
        ridge: share of the mean variance that is added to the diagonal of the covariance.
        projection_width: numbers of the random projection; 0 for none. The covariance takes 8 width^2 bytes, and
            learning and the first prediction after it several times as much.
        seed: of the projection.

    Raises:
        ConfigError: a negative width.
    """

    takes_steps: ClassVar[bool] = False

    def __init__(self, trunk: Trunk, *, ridge: float = 1e-2, projection_width: int = 0, seed: int = 0) -> None:
        check_range("--projection-width", projection_width, 0)
        super().__init__()
        self.trunk, self.ridge = trunk, ridge
        self.projection = RandomProjection(projection_width, seed) if projection_width else None
        self.moments, self.shared = BuffersOfTasks(), BufferDict()
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

    def learn(self, task: int, vectors: Float[Tensor, "n numbers"], labels: Tensor) -> None:
        """Add a task's vectors, as the trunk gives them, to what is known."""
        moments = Moments.of(self._projected(vectors), labels.cpu(), self.roster.classes[task])
        self.moments[task] = {"counts": moments.counts, "means": moments.means}
        earlier = self.shared.get("scatter")
        self.shared["scatter"] = moments.scatter if earlier is None else earlier.cpu() + moments.scatter
        self._discriminant = None

    def logits(self, vectors: Float[Tensor, "n numbers"]) -> Tensor:
        """Of all classes of all tasks, in the order in which they were begun; vectors are those of the trunk."""
        if self._discriminant is None:
            known = [self.moments[task] for task in self._columns()]
            counts, means = (torch.cat([each[name].cpu() for each in known]) for name in ("counts", "means"))
            moments = Moments(counts, means, self.shared["scatter"].cpu())
            self._discriminant = Discriminant(means, pooled_covariance([moments]), self.ridge)
        return self._discriminant.logits(self._projected(vectors)).to(vectors.device)

    def _projected(self, vectors: Tensor) -> Tensor:
        return vectors.cpu() if self.projection is None else self.projection(vectors)

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
            if "means" in self.moments[task]:
                found[task] = (start, start + classes)
                start += classes
        return found

    def state(self) -> dict[str, Tensor]:
        """Moments and tasks, and from which seed the projection is drawn."""
        state = super().state()
        return state if self.projection is None else state | {SEED: torch.tensor(self.projection.seed)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned.

        Raises:
            CheckpointError: as for any strategy, or moments behind another projection.
        """
        saved = state.get(SEED)  # earlier versions did not say
        if self.projection is not None and saved is not None and int(saved) != self.projection.seed:
            raise CheckpointError(
                "moments behind another random projection",
                required=f"those of seed {self.projection.seed}",
                found=f"those of seed {int(saved)}",
                hint="Build the strategy with the seed of the saved one.",
            )
        super().load_state({name: value for name, value in state.items() if name != SEED})

    def make_room(self, state: Mapping[str, Tensor]) -> None:
        """Restore the tasks."""
        self.roster.load_state(state, "moments", holds=ids_in(state, "moments"))
        self.moments.clear()
        scatter = state.get(SCATTER)
        width = self.projection.width if self.projection is not None else 0 if scatter is None else scatter.shape[-1]
        for task, classes in self.roster.classes.items():
            saved = below(f"moments.{task}.", state)
            # counts are zeros until the task is learned
            learned = "counts" in saved and bool(saved["counts"].any())
            shapes = {"counts": (classes,), "means": (classes, width)} if learned else {"counts": (classes,)}
            check_tensors(f"moments of task {task}", saved, _empty(shapes))
            self.moments[task] = saved
        whole = _empty({"scatter": (width, width)}) if self._columns() else {}
        check_tensors("moments of all tasks", below("shared.", state), whole)
        self._discriminant = None

    def _renamed(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        renamed = super()._renamed(state)
        of_tasks = [name for name in renamed if name.startswith("moments.") and name.endswith(".scatter")]
        if of_tasks:  # which earlier versions kept one by one
            renamed[SCATTER] = torch.stack([renamed.pop(name) for name in of_tasks]).sum(0)
        return renamed

    def memory(self) -> dict[str, int]:
        """Class means, and one covariance for all tasks; a projection, which its seed gives again, takes nothing."""
        means = [value for task in self.moments for value in self.moments[task].values()]
        return {"means": nbytes(means), "covariance": nbytes(self.shared.values())}


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
        self.strategy.learn(self.task.id, self.strategy.trunk.all_features(inputs), labels)


def _empty(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Tensors of these shapes, without numbers."""
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
