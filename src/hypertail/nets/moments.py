"""Means of classes and their common covariance: linear discriminant analysis, in one pass and in any order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from hypertail.errors import DataError
from hypertail.nets.compact import halved_means


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

    Where half precision is too coarse for the means, as with a large common offset, they stay in single precision. A
    correlation is then right to 1/254. What is lost does not show in how well tasks are told apart
    (notebook/2026-11-26-the-bank.md).
    """
    scatter = moments.scatter
    deviations = scatter.diagonal().clamp_min(1e-30).sqrt()
    correlations = scatter / torch.outer(deviations, deviations)
    spread = deviations / float((moments.counts.sum() - len(moments.counts)).clamp_min(1)) ** 0.5
    lower = torch.tril_indices(moments.width, moments.width, -1)
    return {
        "counts": moments.counts.float(),
        "means": halved_means(moments.means.float(), spread),
        "deviations": deviations.float(),
        "correlations": (correlations[lower[0], lower[1]] * 127).round().clamp(-127, 127).to(torch.int8),
    }


def unpacked(tensors: Mapping[str, Tensor]) -> PackedMoments:
    """What `packed` gave, as far as it was kept; the scatter is unpacked when it is needed.

    Raises:
        ValueError: numbers that do not fit together.
    """
    deviations, correlations = tensors["deviations"], tensors["correlations"]
    width = len(deviations)
    if correlations.shape != (width * (width - 1) // 2,):
        raise ValueError(f"{tuple(correlations.shape)} correlations of {width} numbers")
    return PackedMoments(tensors["counts"].double(), tensors["means"].double(), deviations, correlations)


class PackedMoments(Moments):
    """Moments whose scatter stays in the few bytes of `packed`: the matrix is made anew whenever it is asked for.

    Args:
        counts, means: as of `Moments`.
        deviations: (width,).
        correlations: the lower triangle row by row, without its diagonal, int8.
    """

    def __init__(self, counts: Tensor, means: Tensor, deviations: Tensor, correlations: Tensor) -> None:
        self.counts, self.means = counts, means
        self.deviations, self.correlations = deviations, correlations

    @property
    def scatter(self) -> Tensor:  # type: ignore[override]
        """The matrix, (width, width), float64; it is the caller's own."""
        width = len(self.deviations)
        lower = torch.ones(width, width, dtype=torch.bool).tril_(-1)
        matrix = torch.zeros(width, width, dtype=torch.float64).masked_scatter_(lower, self.correlations.double() / 127)
        matrix = matrix.add_(matrix.T.clone())
        matrix.diagonal().fill_(1.0)
        deviations = self.deviations.double()
        return matrix.mul_(torch.outer(deviations, deviations))


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


def all_joined(sets: Iterable[Moments]) -> Moments:
    """The classes of several sets, one after another. Their scatters are added one by one, so that one is at hand."""
    counts, means, scatter = [], [], None
    for moments in sets:
        counts.append(moments.counts)
        means.append(moments.means)
        scatter = moments.scatter.clone() if scatter is None else scatter.add_(moments.scatter)
    if scatter is None:
        raise ValueError("no moments")
    return Moments(torch.cat(counts), torch.cat(means), scatter)


def pooled_covariance(sets: Iterable[Moments]) -> Float[Tensor, "w w"]:
    """The common covariance within classes over several sets of moments."""
    joined = all_joined(sets)
    return joined.scatter / max(1.0, float(joined.counts.sum()) - len(joined.counts))


def whole_covariance(sets: Iterable[Moments]) -> tuple[Float[Tensor, " w"], Float[Tensor, "w w"]]:
    """Mean and covariance of all vectors over several sets of moments, whatever their class."""
    joined = all_joined(sets)
    counts = joined.counts.unsqueeze(1)
    total = joined.counts.sum()
    mean = (counts * joined.means).sum(0) / total
    centred = joined.means - mean
    return mean, (joined.scatter + centred.T @ (counts * centred)) / total
