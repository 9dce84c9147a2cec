"""Means of classes and their common covariance: linear discriminant analysis, in one pass and in any order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from hypertail.errors import DataError
from hypertail.nets.compact import halved


class Moments:
    """First and second moments of the vectors of some classes.

    Moments of several sets add up, whatever their order, and no vector can be had back from them.

    Attributes:
        counts: (classes,), float64.
        means: (classes, width), float64.
        scatter: sum over all vectors of (x - mean of its class)(x - mean of its class)^T, (width, width), float64.
    """

    def __init__(self, counts: Tensor, means: Tensor, scatter: Tensor) -> None:
        self.counts, self.means, self.scatter = counts, means, scatter

    @classmethod
    def of(cls, vectors: Float[Tensor, "n width"], labels: Int64[Tensor, " n"], classes: int) -> Moments:
        """Those of a set.

        Raises:
            DataError: a class without vectors.
        """
        vectors = vectors.double()
        counts = torch.bincount(labels, minlength=classes).double()
        if not bool((counts > 0).all()):
            raise DataError(
                "means of classes",
                required="at least one example of each class",
                found=f"none of class {int((counts == 0).nonzero()[0])}",
                hint="Add examples, or leave the class out.",
            )
        sums = vectors.new_zeros(classes, vectors.shape[1]).index_add_(0, labels, vectors)
        means = sums / counts.unsqueeze(1)
        centred = vectors - means[labels]
        return cls(counts, means, centred.T @ centred)

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return self.means.shape[1]

    def joined(self, other: Moments) -> Moments:
        """The classes of both, those of `other` after these."""
        return Moments(
            torch.cat((self.counts, other.counts)),
            torch.cat((self.means, other.means)),
            self.scatter + other.scatter,
        )

    def merged(self, other: Moments, rows: Sequence[int]) -> Moments:
        """With more vectors of the same classes: class i of `other` is class `rows[i]` of these.

        A row beyond the last is a new class.
        """
        total = max(len(self.counts), max(rows) + 1)
        counts = self.counts.new_zeros(total)
        means = self.means.new_zeros(total, self.width)
        counts[: len(self.counts)], means[: len(self.means)] = self.counts, self.means
        scatter = self.scatter + other.scatter
        for number, row in enumerate(rows):
            before, more = counts[row].clone(), other.counts[number]
            change = other.means[number] - means[row]
            counts[row] = before + more
            means[row] += change * (more / counts[row])
            scatter = scatter + torch.outer(change, change) * (before * more / counts[row])
        return Moments(counts, means, scatter)


def packed(moments: Moments) -> dict[str, Tensor]:
    """Moments in few bytes: means in half precision, the scatter as deviations and correlations of 8 bits.

    A correlation is then right to 1/254. What is lost does not show in how well tasks are told apart
    (notebook/2026-11-26-the-bank.md).
    """
    deviations = moments.scatter.diagonal().clamp_min(1e-30).sqrt()
    correlations = moments.scatter / torch.outer(deviations, deviations)
    lower = torch.tril_indices(moments.width, moments.width, -1)
    return {
        "counts": moments.counts.float(),
        "means": halved(moments.means.float()),
        "deviations": deviations.float(),
        "correlations": (correlations[lower[0], lower[1]] * 127).round().clamp(-127, 127).to(torch.int8),
    }


def unpacked(tensors: Mapping[str, Tensor]) -> Moments:
    """What `packed` gave, as far as it was kept."""
    deviations = tensors["deviations"].double()
    width = len(deviations)
    correlations = torch.zeros(width, width, dtype=torch.float64)
    lower = torch.tril_indices(width, width, -1)
    correlations[lower[0], lower[1]] = tensors["correlations"].double() / 127
    correlations = correlations + correlations.T + torch.eye(width, dtype=torch.float64)
    scatter = correlations * torch.outer(deviations, deviations)
    return Moments(tensors["counts"].double(), tensors["means"].double(), scatter)


class Discriminant:
    """Linear discriminant analysis with a ridge: distances of vectors to the means of classes.

    d_c(x) = (x - m_c)^T (S + r I)^-1 (x - m_c), S the common covariance; r is `ridge` times the mean variance.

    Args:
        means: of the classes.
        covariance: common to them.
        ridge: share of the mean variance that is added to the diagonal.
    """

    def __init__(
        self, means: Float[Tensor, "classes width"], covariance: Float[Tensor, "width width"], ridge: float = 1e-2
    ) -> None:
        covariance = covariance.double()
        level = covariance.diagonal().mean().clamp_min(1e-12)
        steadied = covariance + ridge * level * torch.eye(len(covariance), dtype=covariance.dtype)
        # x^T S^-1 x is the square of L^-1 x, where S = L L^T
        self._factor = _cholesky(steadied, level)
        self.means = means.double()
        self._whitened = self._whiten(self.means)

    def _whiten(self, vectors: Tensor) -> Tensor:
        whitened: Tensor = torch.linalg.solve_triangular(self._factor, vectors.double().T, upper=False).T
        return whitened

    def distances(self, vectors: Float[Tensor, "n width"]) -> Float[Tensor, "n classes"]:
        """Squared Mahalanobis distances to the mean of each class, float64."""
        return torch.cdist(self._whiten(vectors), self._whitened).square()

    def logits(self, vectors: Float[Tensor, "n width"]) -> Float[Tensor, "n classes"]:
        """-d_c(x) / 2: their softmax is the posterior of equally frequent Gaussian classes."""
        return -0.5 * self.distances(vectors)


def _cholesky(matrix: Tensor, level: Tensor) -> Tensor:
    """The factor of a matrix that rounding may have made indefinite by a little: its diagonal is raised as needed."""
    for raised in (0.0, 1e-2, 1e-1, 1.0):
        steadied = matrix + raised * level * torch.eye(len(matrix), dtype=matrix.dtype)
        factor: Tensor
        factor, failed = torch.linalg.cholesky_ex(steadied)
        if not int(failed):
            return factor
    return torch.diag(matrix.diagonal().clamp_min(float(level)).sqrt())


def pooled_covariance(sets: Sequence[Moments]) -> Float[Tensor, "w w"]:
    """The common covariance within classes over several sets of moments."""
    total = sum(float(moments.counts.sum()) - len(moments.counts) for moments in sets)
    scatter = torch.stack([moments.scatter for moments in sets]).sum(0)
    return scatter / max(1.0, total)


def whole_covariance(sets: Sequence[Moments]) -> tuple[Float[Tensor, " w"], Float[Tensor, "w w"]]:
    """Mean and covariance of all vectors over several sets of moments, whatever their class."""
    counts = torch.cat([moments.counts for moments in sets])
    means = torch.cat([moments.means for moments in sets])
    total = counts.sum()
    mean = (counts.unsqueeze(1) * means).sum(0) / total
    centred = means - mean
    scatter = torch.stack([moments.scatter for moments in sets]).sum(0) + centred.T @ (counts.unsqueeze(1) * centred)
    return mean, scatter / total
