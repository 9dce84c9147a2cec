"""Linear discriminant analysis: the same as scikit-learn's, in any order of tasks, and without being told the task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor, nn

from hypertail.strategies import InfersTask, Lda, Task, Trunk

CLASSES = {0: 2, 1: 3, 2: 2}


def vectors(task: int, split: int = 0) -> tuple[Tensor, Tensor]:
    """Correlated clouds around one centre per class, the same number of each."""
    generator = torch.Generator().manual_seed(task)
    centres = 2.0 * torch.randn(CLASSES[task], 6, generator=generator)
    mixing = torch.randn(6, 6, generator=torch.Generator().manual_seed(99))
    noise = torch.randn(40 * CLASSES[task], 6, generator=generator.manual_seed(10 * split + task + 1))
    labels = torch.arange(CLASSES[task]).repeat(40)
    return centres[labels] + noise @ mixing, labels


def learned(order: Sequence[int], ridge: float = 0.0) -> Lda:
    strategy = Lda(Trunk(nn.Identity(), learns=False), ridge=ridge)
    for task in order:
        strategy.begin(Task(task, CLASSES[task], 1, lambda task=task: vectors(task))).end()
    return strategy


def test_it_is_that_of_scikit_learn() -> None:
    strategy = learned((0, 1, 2))
    every = [vectors(task) for task in CLASSES]
    starts = [0, 2, 5]
    inputs = torch.cat([inputs for inputs, _ in every]).double().numpy()
    labels = torch.cat([labels + start for (_, labels), start in zip(every, starts, strict=True)]).numpy()
    reference = LinearDiscriminantAnalysis(solver="lsqr", priors=np.full(7, 1 / 7)).fit(inputs, labels)
    tests = torch.cat([vectors(task, 1)[0] for task in CLASSES])
    expected = reference.predict_log_proba(tests.double().numpy())
    found = torch.log_softmax(strategy.logits(tests), dim=1).numpy()
    # scikit-learn divides by the number of vectors, this by the degrees of freedom
    scale = len(inputs) / (len(inputs) - 7)
    difference = (expected - expected.max(1, keepdims=True)) / scale - (found - found.max(1, keepdims=True))
    assert np.abs(difference).max() < 1e-6
    owners = np.repeat([0, 1, 2], [2, 3, 2])
    assert np.array_equal(strategy.infer(tests).numpy(), owners[reference.predict(tests.double().numpy())])


def test_the_order_of_tasks_does_not_matter() -> None:
    one, other = learned((0, 1, 2)), learned((2, 0, 1))
    for task in CLASSES:
        inputs, labels = vectors(task, 1)
        assert torch.allclose(one.predict(inputs, task), other.predict(inputs, task), atol=1e-4)
        assert torch.equal(one.infer(inputs), other.infer(inputs))
        assert (one.predict(inputs, task).argmax(1) == labels).double().mean() > 0.8


def test_the_ridge_draws_distances_together() -> None:
    inputs = vectors(1, 1)[0]
    spreads = [learned((0, 1, 2), ridge).predict(inputs, 1).std().item() for ridge in (0.0, 0.1, 10.0)]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[2] < 0.5 * spreads[0]


def test_it_finds_tasks_by_itself() -> None:
    assert isinstance(learned((0,)), InfersTask)


def test_bytes_are_those_of_means_and_of_one_covariance() -> None:
    assert learned((0, 1, 2)).memory() == {"means": 7 * (6 + 1) * 8, "covariance": 36 * 8}
    assert learned(()).memory() == {"means": 0, "covariance": 0}


@pytest.mark.parametrize("ridge", [1e-2, 1.0])
def test_a_class_of_one_image_is_learned(ridge: float) -> None:
    strategy = Lda(Trunk(nn.Identity(), learns=False), ridge=ridge)
    strategy.begin(Task(0, 2, 1, lambda: (torch.eye(2, 6), torch.tensor([0, 1])))).end()
    assert strategy.predict(torch.eye(2, 6), 0).argmax(1).tolist() == [0, 1]
