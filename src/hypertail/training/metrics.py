"""Metrics of continual learning, all derived from the accuracy matrix (paper, section 2).

The accuracy matrix `R` is N x N: `R[i, j]` is the test accuracy, in 0..1, on experience j after learning
experience i. NaN means not measured, as above the diagonal (experiences not seen yet). The `joint` strategy,
which learns everything at once, measures the last row only.

A metric is NaN when an entry that it needs was not measured: a partial evaluation never passes for a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hypertail.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

METRICS = ("aca", "forgetting", "forgetting_max", "learning_accuracy")


def average_accuracy(R: NDArray[np.float64] | Tensor) -> float:
    """Average classification accuracy (ACA): the mean of the last row.

    The paper's formula (section 2) is printed as a sum, without the 1/N; its tables report the mean.

    Args:
        R: accuracy matrix, N x N, in 0..1.

    Raises:
        DataError: `R` is not a square matrix of accuracies.
    """
    return float(as_matrix(R)[-1].mean())


def learning_accuracy(R: NDArray[np.float64] | Tensor) -> float:
    """Mean accuracy on each experience right after learning it: the mean of the diagonal.

    Args:
        R: accuracy matrix, N x N, in 0..1.

    Raises:
        DataError: `R` is not a square matrix of accuracies.
    """
    return float(as_matrix(R).diagonal().mean())


def forgetting(R: NDArray[np.float64] | Tensor) -> float:
    """Mean over i < N of (accuracy right after learning e_i - accuracy after the last experience).

    Negative when old experiences got better. 0.0 for a single experience: nothing to forget.

    Args:
        R: accuracy matrix, N x N, in 0..1.

    Raises:
        DataError: `R` is not a square matrix of accuracies.
    """
    matrix = as_matrix(R)
    if len(matrix) == 1:
        return 0.0
    return float((matrix.diagonal()[:-1] - matrix[-1, :-1]).mean())


def forgetting_max(R: NDArray[np.float64] | Tensor) -> float:
    """Forgetting from the best accuracy ever had: mean over j < N of (max over i < N of R[i, j]) - R[N, j].

    The variant of Chaudhry et al. (2018). The maximum runs over the measured entries. Never smaller than
    `forgetting`. 0.0 for a single experience.

    Args:
        R: accuracy matrix, N x N, in 0..1.

    Raises:
        DataError: `R` is not a square matrix of accuracies.
    """
    matrix = as_matrix(R)
    if len(matrix) == 1:
        return 0.0
    earlier = matrix[:-1, :-1]
    measured = ~np.isnan(earlier)
    best = np.where(measured, earlier, -np.inf).max(axis=0)
    best[~measured.any(axis=0)] = np.nan
    return float((best - matrix[-1, :-1]).mean())


def running_accuracy(R: NDArray[np.float64] | Tensor) -> NDArray[np.float64]:
    """Mean accuracy over the experiences seen so far, after each experience; its last entry is the ACA.

    Args:
        R: accuracy matrix, N x N, in 0..1.

    Returns:
        N values; NaN where a row was not measured up to its diagonal.

    Raises:
        DataError: `R` is not a square matrix of accuracies.
    """
    matrix = as_matrix(R)
    return np.array([matrix[i, : i + 1].mean() for i in range(len(matrix))])


def summarise(R: NDArray[np.float64] | Tensor) -> dict[str, float | None]:
    """Every metric by name, in 0..1; None where it is undefined (an entry that it needs was not measured).

    Args:
        R: accuracy matrix, N x N, in 0..1.

    Raises:
        DataError: `R` is not a square matrix of accuracies.
    """
    values = {
        "aca": average_accuracy(R),
        "forgetting": forgetting(R),
        "forgetting_max": forgetting_max(R),
        "learning_accuracy": learning_accuracy(R),
    }
    return {name: None if np.isnan(value) else value for name, value in values.items()}


def as_matrix(R: NDArray[np.float64] | Tensor) -> NDArray[np.float64]:
    """`R` as a float64 numpy matrix, checked.

    Raises:
        DataError: `R` is not a square matrix of values in 0..1 (or NaN).
    """
    array = R if isinstance(R, np.ndarray) else R.detach().cpu().numpy()
    matrix = array.astype(np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
        raise DataError(
            "accuracy matrix",
            required="a square matrix with at least one row",
            found=f"shape {tuple(matrix.shape)}",
            hint="Give one row and one column per experience; NaN where nothing was measured.",
        )
    wrong = (matrix < 0) | (matrix > 1)
    if wrong.any():
        i, j = np.argwhere(wrong)[0]
        raise DataError(
            f"accuracy matrix, entry ({i}, {j})",
            required="a value in 0..1, or NaN where nothing was measured",
            found=f"{matrix[i, j]:g}",
            hint="Divide percentages by 100.",
        )
    return matrix
