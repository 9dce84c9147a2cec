"""From the moments of all tasks to the task of an image, or none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from hypertail.nets.moments import Discriminant, Moments, all_joined, pooled_covariance, whole_covariance

RIDGE = 1e-2
KEPT = 0.95
"""Share of a task's own images that its threshold lets pass as known."""


class TaskInference:
    """Proposes a task for a vector: that of the nearest class mean under one covariance of all tasks.

    How strange a vector is says its distance to that mean less its distance to all that was ever learned (the relative
    Mahalanobis distance; Ren et al., 2021, https://arxiv.org/abs/2106.09022).

    Args:
        moments: the name of each task and the moments of the `Descriptor`'s vectors of its classes. They are taken one
            after another and not kept.
    """

    def __init__(self, moments: Iterable[tuple[str, Moments]]) -> None:
        classes: dict[str, int] = {}

        def counted() -> Iterator[Moments]:
            for name, each in moments:
                classes[name] = len(each.means)
                yield each

        joined = all_joined(counted())
        self.tasks = tuple(classes)
        self._classes = Discriminant(joined.means, pooled_covariance([joined]), RIDGE)
        mean, covariance = whole_covariance([joined])
        self._everything = Discriminant(mean.unsqueeze(0), covariance, RIDGE)
        self._owners = torch.cat([torch.full((count,), number) for number, count in enumerate(classes.values())])

    def distances(self, vectors: Float[Tensor, "n width"]) -> Float[Tensor, "n tasks"]:
        """Squared distance to the nearest class of each task, float64."""
        every = self._classes.distances(vectors)
        return torch.stack([every[:, self._owners == task].amin(1) for task in range(len(self.tasks))], dim=1)

    def strangeness(self, vectors: Float[Tensor, "n width"]) -> Float[Tensor, " n"]:
        """How much farther the nearest class is than everything that was learned; higher is stranger."""
        return self.distances(vectors).amin(1) - self._everything.distances(vectors)[:, 0]


def posterior(distances: Float[Tensor, "n tasks"], temperature: float) -> Float[Tensor, "n tasks"]:
    """Probability of each task, from its squared distance."""
    return torch.softmax(-0.5 * distances / temperature, dim=1)


def threshold_of(strangeness: Float[Tensor, " n"]) -> float:
    """What `KEPT` of held-out images of a task stay below."""
    return float(torch.quantile(strangeness.double(), KEPT)) if len(strangeness) else float("inf")


def known(strangeness: Float[Tensor, " n"], threshold: float) -> Bool[Tensor, " n"]:
    """Which images belong to some task."""
    return strangeness <= threshold


def nearest(distances: Float[Tensor, "n tasks"]) -> Int64[Tensor, " n"]:
    """The task of the smallest distance."""
    return distances.argmin(1)
