"""From the moments of all tasks to the task of an image, or none."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from hypertail.nets.moments import Discriminant, Moments, pooled_covariance, whole_covariance

RIDGE = 1e-2
KEPT = 0.95
"""Share of a task's own images that its threshold lets pass as known."""


class TaskInference:
    """Proposes a task for a vector: that of the nearest class mean under one covariance of all tasks.

    How strange a vector is says its distance to that mean less its distance to all that was ever learned (the relative
    Mahalanobis distance; Ren et al., 2021, https://arxiv.org/abs/2106.09022).

    Args:
        moments: task -> moments of the `Descriptor`'s vectors of its classes.
    """

    def __init__(self, moments: Mapping[str, Moments]) -> None:
        self.tasks = tuple(moments)
        sets = list(moments.values())
        self._classes = Discriminant(torch.cat([each.means for each in sets]), pooled_covariance(sets), RIDGE)
        mean, covariance = whole_covariance(sets)
        self._everything = Discriminant(mean.unsqueeze(0), covariance, RIDGE)
        owners = [torch.full((len(each.means),), number) for number, each in enumerate(sets)]
        self._owners = torch.cat(owners)

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
