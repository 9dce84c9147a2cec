"""Metrics against slow loops, and their limits."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hypertail.errors import DataError
from hypertail.training.metrics import (
    average_accuracy,
    forgetting,
    forgetting_max,
    learning_accuracy,
    running_accuracy,
    summarise,
)

Matrix = NDArray[np.float64]
NAN = math.nan


def random_matrix(n: int, seed: int) -> Matrix:
    R = np.random.default_rng(seed).random((n, n))
    R[np.triu_indices(n, 1)] = np.nan
    return R


def slow_aca(R: Matrix) -> float:
    total = 0.0
    for j in range(len(R)):
        total += R[len(R) - 1, j]
    return total / len(R)


def slow_learning_accuracy(R: Matrix) -> float:
    total = 0.0
    for i in range(len(R)):
        total += R[i, i]
    return total / len(R)


def slow_forgetting(R: Matrix) -> float:
    total, last = 0.0, len(R) - 1
    for i in range(last):
        total += R[i, i] - R[last, i]
    return total / last if last else 0.0


def slow_forgetting_max(R: Matrix) -> float:
    total, last = 0.0, len(R) - 1
    for j in range(last):
        best = NAN
        for i in range(last):
            if not math.isnan(R[i, j]) and not best >= R[i, j]:
                best = R[i, j]
        total += best - R[last, j]
    return total / last if last else 0.0


TWINS = [
    (average_accuracy, slow_aca),
    (learning_accuracy, slow_learning_accuracy),
    (forgetting, slow_forgetting),
    (forgetting_max, slow_forgetting_max),
]


@pytest.mark.parametrize(("fast", "slow"), TWINS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("n", [1, 2, 3, 20])
def test_metric_equals_its_slow_twin(fast: Callable[[Matrix], float], slow: Callable[[Matrix], float], n: int) -> None:
    for seed in range(10):
        R = random_matrix(n, seed)
        assert fast(R) == pytest.approx(slow(R), abs=1e-12)


@pytest.mark.parametrize(("fast", "slow"), TWINS, ids=lambda f: f.__name__)
def test_metric_equals_its_slow_twin_where_entries_are_missing(
    fast: Callable[[Matrix], float], slow: Callable[[Matrix], float]
) -> None:
    rng = np.random.default_rng(0)
    undefined = 0
    for seed in range(200):
        R = random_matrix(4, seed)
        R[rng.random((4, 4)) < 0.15] = np.nan
        want = slow(R)
        assert fast(R) == pytest.approx(want, abs=1e-12, nan_ok=True)
        undefined += math.isnan(want)
    assert 0 < undefined < 200


def test_worked_example() -> None:
    R = np.array([[0.8, NAN, NAN], [0.9, 0.6, NAN], [0.5, 0.7, 0.9]])
    assert summarise(R) == pytest.approx(
        {
            "aca": 0.7,  # (.5 + .7 + .9) / 3
            "forgetting": 0.1,  # (.3 - .1) / 2
            "forgetting_max": 0.15,  # (.4 - .1) / 2
            "learning_accuracy": 2.3 / 3,
        }
    )
    np.testing.assert_allclose(running_accuracy(R), [0.8, 0.75, 0.7])


def test_forgetting_from_best_is_never_less_than_forgetting() -> None:
    for seed in range(50):
        R = random_matrix(6, seed)
        assert forgetting_max(R) >= forgetting(R)


def test_one_experience_forgets_nothing() -> None:
    assert summarise(np.array([[0.7]])) == {
        "aca": 0.7,
        "forgetting": 0.0,
        "forgetting_max": 0.0,
        "learning_accuracy": 0.7,
    }


def test_joint_measures_the_last_row_only() -> None:
    R = np.array([[NAN, NAN], [0.5, 0.7]])
    assert summarise(R) == {
        "aca": pytest.approx(0.6),
        "forgetting": None,
        "forgetting_max": None,
        "learning_accuracy": None,
    }
    np.testing.assert_allclose(running_accuracy(R), [NAN, 0.6])


def test_unfinished_run_has_no_aca() -> None:
    assert summarise(np.array([[0.8, NAN], [NAN, NAN]]))["aca"] is None


def test_torch_gives_the_same_and_input_is_left_alone() -> None:
    R = random_matrix(4, 0)
    before = R.copy()
    assert summarise(torch.tensor(R)) == summarise(R)
    np.testing.assert_array_equal(R, before)


@pytest.mark.parametrize("metric", [fast for fast, _ in TWINS] + [running_accuracy, summarise])
def test_matrix_must_be_square(metric: Callable[[Matrix], object]) -> None:
    with pytest.raises(DataError) as error:
        metric(np.zeros((2, 3)))
    assert str(error.value) == (
        "accuracy matrix: required a square matrix with at least one row; found shape (2, 3). "
        "Give one row and one column per experience; NaN where nothing was measured."
    )


def test_matrix_must_not_be_empty() -> None:
    with pytest.raises(DataError, match=r"found shape \(0, 0\)"):
        average_accuracy(np.zeros((0, 0)))


def test_percentages_are_refused() -> None:
    with pytest.raises(DataError) as error:
        average_accuracy(np.array([[0.9, NAN], [0.5, 85.0]]))
    assert str(error.value) == (
        "accuracy matrix, entry (1, 1): required a value in 0..1, or NaN where nothing was measured; found 85. "
        "Divide percentages by 100."
    )
