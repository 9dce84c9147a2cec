"""Linear discriminant analysis: the same as scikit-learn's, in any order of tasks, and without being told the task.

With a random projection, the same as its slow twin; the projection itself is never stored.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor, nn

from hypertail.errors import CheckpointError, ConfigError
from hypertail.seeds import generator
from hypertail.strategies import InfersTask, Lda, Task, Trunk
from support.asserts import assert_same_tensors

CLASSES = {0: 2, 1: 3, 2: 2}


def vectors(task: int, split: int = 0) -> tuple[Tensor, Tensor]:
    """Correlated clouds around one centre per class, the same number of each."""
    generator = torch.Generator().manual_seed(task)
    centres = 2.0 * torch.randn(CLASSES[task], 6, generator=generator)
    mixing = torch.randn(6, 6, generator=torch.Generator().manual_seed(99))
    noise = torch.randn(40 * CLASSES[task], 6, generator=generator.manual_seed(10 * split + task + 1))
    labels = torch.arange(CLASSES[task]).repeat(40)
    return centres[labels] + noise @ mixing, labels


def empty(ridge: float = 0.0, width: int = 0, seed: int = 0) -> Lda:
    return Lda(Trunk(nn.Identity(), learns=False), ridge=ridge, projection_width=width, seed=seed)


def learned(order: Sequence[int], ridge: float = 0.0, width: int = 0, seed: int = 0) -> Lda:
    strategy = empty(ridge, width, seed)
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


@pytest.mark.parametrize("width", [0, 30])
def test_the_order_of_tasks_does_not_matter(width: int) -> None:
    one, other = learned((0, 1, 2), 1e-2, width), learned((2, 0, 1), 1e-2, width)
    for task in CLASSES:
        inputs, labels = vectors(task, 1)
        assert torch.allclose(one.predict(inputs, task), other.predict(inputs, task), atol=1e-4)
        assert torch.equal(one.infer(inputs), other.infer(inputs))
        assert (one.predict(inputs, task).argmax(1) == labels).double().mean() > 0.75


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


def test_nothing_is_kept_that_is_not_counted() -> None:
    for width in (0, 30):
        strategy = learned((0, 1, 2), width=width)
        numbers = sum(value.numel() for value in strategy.state_dict().values())
        assert sum(strategy.memory().values()) == 8 * numbers


@pytest.mark.parametrize("ridge", [1e-2, 1.0])
def test_a_class_of_one_image_is_learned(ridge: float) -> None:
    strategy = empty(ridge)
    strategy.begin(Task(0, 2, 1, lambda: (torch.eye(2, 6), torch.tensor([0, 1])))).end()
    assert strategy.predict(torch.eye(2, 6), 0).argmax(1).tolist() == [0, 1]


def slow_distances(width: int, ridge: float, seed: int, tests: Tensor) -> np.ndarray:
    """Squared distances to all seven class means behind relu(x W), one image and class at a time, in numpy."""
    drawn = torch.randn(6, width, generator=generator(seed, "projection"), dtype=torch.float64).numpy()

    def projected(vector: np.ndarray) -> np.ndarray:
        return np.array([max(0.0, float(vector @ column)) for column in drawn.T])

    means, residuals = [], []
    for task, classes in CLASSES.items():
        inputs, labels = vectors(task)
        for label in range(classes):
            rows = np.stack([projected(row) for row in inputs[labels == label].double().numpy()])
            means.append(rows.mean(0))
            residuals += list(rows - rows.mean(0))
    covariance = sum(np.outer(row, row) for row in residuals) / (len(residuals) - len(means))
    inverse = np.linalg.inv(covariance + ridge * np.trace(covariance) / width * np.eye(width))
    points = [projected(row) for row in tests.double().numpy()]
    return np.array([[(point - mean) @ inverse @ (point - mean) for mean in means] for point in points])


@pytest.mark.parametrize(("width", "ridge", "seed"), [(3, 1e-2, 0), (20, 1e-2, 1), (50, 1.0, 0)])
def test_behind_a_projection_it_is_its_slow_twin(width: int, ridge: float, seed: int) -> None:
    strategy = learned((0, 1, 2), ridge, width, seed)
    tests = torch.cat([vectors(task, 1)[0][:7] for task in CLASSES])
    expected = slow_distances(width, ridge, seed, tests)
    assert np.abs(strategy.logits(tests).numpy() + expected / 2).max() < 1e-8 * expected.max()
    owners = np.repeat([0, 1, 2], [2, 3, 2])
    assert np.array_equal(strategy.infer(tests).numpy(), owners[expected.argmin(1)])


def crossed(seed: int) -> tuple[Tensor, Tensor]:
    """Points of the plane; the class says whether their coordinates have the same sign."""
    points = torch.randn(400, 2, generator=torch.Generator().manual_seed(seed))
    return points, (points.prod(1) > 0).long()


def test_a_projection_tells_apart_what_no_covariance_can() -> None:
    right = {}
    for width in (0, 50):
        strategy = empty(1e-2, width)
        strategy.begin(Task(0, 2, 1, lambda: crossed(0))).end()
        points, labels = crossed(1)
        right[width] = (strategy.predict(points, 0).argmax(1) == labels).double().mean()
    assert right[0] < 0.6
    assert right[50] > 0.85


def test_the_projection_is_drawn_again_and_not_stored() -> None:
    strategy = learned((0, 1, 2), 1e-2, 30)
    state = strategy.state()
    assert not [name for name, value in state.items() if value.shape == (6, 30)]
    assert strategy.memory() == {"means": 7 * (30 + 1) * 8, "covariance": 30 * 30 * 8}
    inputs = vectors(1, 1)[0]
    # earlier versions did not say which seed it was
    for saved in (state, {name: value for name, value in state.items() if name != "projection.seed"}):
        restored = empty(1e-2, 30)
        restored.load_state({name: value.clone() for name, value in saved.items()})
        assert torch.equal(restored.predict(inputs, 1), strategy.predict(inputs, 1))
    with pytest.raises(CheckpointError, match=r"another random projection: required those of seed 1; found .* seed 0"):
        empty(1e-2, 30, 1).load_state(state)


def test_the_moments_of_another_projection_are_refused() -> None:
    state = learned((0, 1), 1e-2, 30).state()
    with pytest.raises(CheckpointError, match=r"moments of task 0: required 'means' of shape \(2, 20\); found shape"):
        empty(1e-2, 20).load_state(state)
    without = {name: value for name, value in state.items() if name != "shared.scatter"}
    with pytest.raises(
        CheckpointError, match=r"moments of all tasks: required 'scatter' of shape \(30, 30\); found none"
    ):
        empty(1e-2, 30).load_state(without)


def test_a_negative_width_is_refused() -> None:
    with pytest.raises(ConfigError, match="option --projection-width: required 0 or more; found -1"):
        empty(width=-1)


def test_a_state_of_an_earlier_version_has_a_scatter_for_each_task() -> None:
    whole = learned((2, 0, 1))
    state = whole.state()
    del state["shared.scatter"]
    for task in CLASSES:
        state[f"moments.{task}.scatter"] = learned((task,)).state()["shared.scatter"]
    restored = empty()
    restored.load_state(state)
    inputs = vectors(1, 1)[0]
    torch.testing.assert_close(restored.predict(inputs, 1), whole.predict(inputs, 1))
    assert_same_tensors(
        {name: value for name, value in restored.state().items() if name != "shared.scatter"},
        {name: value for name, value in whole.state().items() if name != "shared.scatter"},
    )
