from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

import reference
from hypertail.nets import slim_resnet18
from hypertail.seeds import seeded
from hypertail.strategies import EWC, Optimisation, Task
from tiny import build, tiny_stream, train

STREAM = tiny_stream(3)


def data(task: int) -> tuple[Tensor, Tensor]:
    images = STREAM[task].test_transform(STREAM[task].train.images, torch.Generator())
    return images, STREAM[task].train.labels


def learn(strategy: EWC, task: int, steps: int = 3) -> None:
    images, labels = data(task)
    strategy.begin(Task(task, 2, steps, lambda: (images, labels)))
    for _ in range(steps):
        strategy.step(images, labels, task)


def finish(strategy: EWC, task: int) -> None:
    strategy.end(Task(task, 2, 1, lambda: data(task)))


def ewc(**options: float | str) -> EWC:
    strategy = build("ewc", **options)  # type: ignore[arg-type]
    assert isinstance(strategy, EWC)
    return strategy


def test_fisher_diagonal_equals_one_backward_pass_per_sample() -> None:
    strategy = ewc()
    learn(strategy, 0)
    finish(strategy, 0)
    images, labels = data(0)
    expected = reference.fisher(strategy.model, lambda x: strategy.model(x, 0), images, labels)
    assert set(strategy.fisher) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(strategy.fisher[name], value, rtol=1e-4, atol=1e-8)
        assert value.any(), name


def test_two_sums_equal_the_sum_over_tasks() -> None:
    """Same gradient everywhere, same differences of value: the constant alone is left out."""
    strategy, anchors, costs = ewc(), [], []
    for task in range(3):
        learn(strategy, task)
        if task:
            theta = dict(strategy.model.named_parameters())
            ours, theirs = strategy.penalty(), reference.ewc_penalty(anchors, theta)
            for name, leaf in theta.items():
                a, b = (
                    torch.autograd.grad(cost, leaf, materialize_grads=True, retain_graph=True)[0]
                    for cost in (ours, theirs)
                )
                torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
            if task == 2:
                costs.append((ours.detach(), theirs.detach()))
                with torch.no_grad():
                    for leaf in strategy.optimisation.leaves.values():
                        leaf += 0.05
                    costs.append((strategy.penalty(), reference.ewc_penalty(anchors, theta)))
        images, labels = data(task)
        diagonal = reference.fisher(strategy.model, lambda x, t=task: strategy.model(x, t), images, labels)
        anchors.append((diagonal, {n: p.detach().clone() for n, p in strategy.model.named_parameters()}))
        finish(strategy, task)
    (ours, theirs), (later, expected) = costs
    torch.testing.assert_close(later - ours, expected - theirs, rtol=1e-3, atol=1e-5)


def test_what_is_kept_does_not_grow_with_the_tasks() -> None:
    strategy = ewc()
    sizes = []
    for task in range(3):
        learn(strategy, task)
        finish(strategy, task)
        head = sum(p.numel() for p in strategy.model.heads["0"].parameters())
        sizes.append(strategy.memory()["fisher"] - 2 * 4 * head * (task + 1))
    assert len(set(sizes)) == 1


def test_no_weight_is_the_naive_strategy() -> None:
    free, naive = build("ewc", net="mlp", weight=0.0), build("naive", net="mlp")
    a, b = train(free, STREAM), train(naive, STREAM)
    torch.testing.assert_close(a.accuracy, b.accuracy, equal_nan=True)
    torch.testing.assert_close(torch.tensor(a.losses), torch.tensor(b.losses))


def test_a_large_weight_keeps_parameters_near_their_anchor() -> None:
    distances = []
    for weight in (0.0, 1e4):
        strategy = ewc(weight=weight)
        learn(strategy, 0)
        finish(strategy, 0)
        anchor = {n: p.detach().clone() for n, p in strategy.model.named_parameters()}
        learn(strategy, 1, steps=20)
        theta = dict(strategy.model.named_parameters())
        distances.append(sum(float((strategy.fisher[n] * (theta[n] - anchor[n]) ** 2).detach().sum()) for n in anchor))
    assert distances[1] < 0.1 * distances[0]


@pytest.mark.parametrize("state", ["fresh", "kept"])
def test_heads_of_earlier_tasks_stay_as_they_were(state: str) -> None:
    """The penalty pulls them nowhere, but its rounding error would do for a step of Adam."""
    strategy = ewc(weight=1e4, state=state)
    heads: dict[str, Tensor] = {}
    for task in range(3):
        learn(strategy, task)
        finish(strategy, task)
        now = {name: leaf.detach().clone() for name, leaf in strategy.model.heads.named_parameters()}
        for name, before in heads.items():
            assert torch.equal(before, now[name]), name
        heads = now
    assert len(heads) == 6


def test_few_samples_stand_for_all_classes() -> None:
    """Folders come sorted by class: the first images alone would leave every other class unprotected."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 4, bias=False), nn.Tanh(), nn.Linear(4, 2))
    strategy = EWC(model, Optimisation(), fisher_samples=20)
    labels = torch.arange(2).repeat_interleave(50)
    images = torch.eye(2)[labels].view(100, 2, 1, 1)  # class 0 lights the first pixel, class 1 the second
    task = Task(0, 2, 1, lambda: (images, labels))
    strategy.begin(task)
    strategy.end(task)
    first, second = strategy.fisher["body.1.weight"].sum(0)
    assert float(first) > 0
    assert float(second) > 0


@pytest.mark.parametrize("images", [1, 26, 51])
def test_a_last_image_on_its_own_brings_no_warning_and_the_same_fisher(images: int) -> None:
    """case 25: 26 images are a chunk of 25 and one image, over which vmap warned."""
    with seeded(0, "model"):
        model = slim_resnet18(2).to(memory_format=torch.channels_last)
    strategy = EWC(model, Optimisation(), fisher_samples=images)
    x = torch.rand(images, 16, 16, 3, generator=torch.Generator().manual_seed(0)).movedim(-1, 1)
    y = torch.arange(images) % 2
    task = Task(0, 2, 1, lambda: (x, y))
    strategy.begin(task)
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            strategy.end(task)
    finally:
        torch.set_warn_always(False)
    expected = reference.fisher(strategy.model, lambda images: strategy.model(images, 0), x, y)
    for name, value in expected.items():
        torch.testing.assert_close(strategy.fisher[name], value, rtol=1e-3, atol=1e-6)
