from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

from hypertail.errors import ConfigError
from hypertail.nets import slim_resnet18
from hypertail.seeds import seeded
from hypertail.strategies import EWC, Optimisation, Task
from hypertail.strategies.ewc import EWCLesson
from support import reference
from support.tiny import build, tiny_stream, train

STREAM = tiny_stream(3)


def data(task: int) -> tuple[Tensor, Tensor]:
    images = STREAM[task].test_transform(STREAM[task].train.images, torch.Generator())
    return images, STREAM[task].train.labels


def learn(strategy: EWC, task: int, steps: int = 3) -> EWCLesson:
    images, labels = data(task)
    lesson = strategy.begin(Task(task, 2, steps, lambda: (images, labels)))
    for _ in range(steps):
        lesson.step(images, labels)
    return lesson


def ewc(**options: float | str) -> EWC:
    strategy = build("ewc", **options)  # type: ignore[arg-type]
    assert isinstance(strategy, EWC)
    return strategy


def test_fisher_diagonal_equals_one_backward_pass_per_sample() -> None:
    strategy = ewc()
    learn(strategy, 0).end()
    images, labels = data(0)
    expected = reference.fisher(strategy.model, lambda x: strategy.model(x, 0), images, labels)
    assert set(strategy.fisher) == set(expected)
    assert expected.keys() == strategy.fisher.keys()
    for name, value in expected.items():
        torch.testing.assert_close(strategy.fisher[name], value, rtol=1e-4, atol=1e-8)
        assert value.any(), name


def test_exact_fisher_diagonal_is_the_expectation_over_the_labels() -> None:
    with seeded(0, "model"):
        model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.Tanh(), nn.Linear(4, 3))
    strategy = EWC(model, Optimisation(), fisher_kind="exact")
    x, y = torch.randn(9, 3, 2, 2, generator=torch.Generator().manual_seed(0)), torch.zeros(9, dtype=torch.long)
    task = Task(0, 3, 1, lambda: (x, y))
    strategy.begin(task).end()
    expected = {name: torch.zeros_like(leaf) for name, leaf in strategy.model.named_parameters()}
    for image in x:
        p = strategy.model(image[None], 0).softmax(1)[0]
        for probability in p:
            leaves = list(strategy.model.parameters())
            gradients = torch.autograd.grad(probability.log(), leaves, retain_graph=True)
            for name, gradient in zip(expected, gradients, strict=True):
                expected[name] += probability.detach() * gradient.square() / len(x)
    for name, value in expected.items():
        torch.testing.assert_close(strategy.fisher[name], value)


def test_a_task_learned_well_is_held_by_the_exact_fisher_only() -> None:
    """At probability 1 - e of the label, e of the exact Fisher is left and e^2 of the empirical one."""
    totals: dict[str, list[float]] = {"empirical": [], "exact": []}
    for kind, found in totals.items():
        for scale in (1.0, 10.0):
            model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
            strategy = EWC(model, Optimisation(), fisher_kind=kind)  # type: ignore[arg-type]
            images, labels = torch.eye(2).view(2, 2, 1, 1), torch.arange(2)
            task = Task(0, 2, 1, lambda: (images, labels))  # noqa: B023
            lesson = strategy.begin(task)
            with torch.no_grad():
                strategy.model.body[1].weight.copy_(torch.eye(2))
                strategy.model.heads["0"].weight.copy_(scale * torch.eye(2))
                strategy.model.heads["0"].bias.zero_()
            lesson.end()
            found.append(float(strategy.fisher["heads.0.weight"].sum()))
    e = [float(torch.sigmoid(torch.tensor(-scale))) for scale in (1.0, 10.0)]
    assert totals["exact"] == pytest.approx([2 * e[i] * (1 - e[i]) for i in (0, 1)], rel=1e-3)
    assert totals["empirical"] == pytest.approx([2 * e[i] ** 2 for i in (0, 1)], rel=1e-3)


def test_an_unknown_kind_of_fisher_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Fisher diagonal.*empirical.*exact"):
        EWC(nn.Sequential(nn.Flatten(), nn.Linear(2, 2)), Optimisation(), fisher_kind="true")  # type: ignore[arg-type]


def test_two_sums_equal_the_sum_over_tasks() -> None:
    """Same gradient everywhere, same differences of value: the constant alone is left out."""
    strategy, anchors, costs = ewc(), [], []
    for task in range(3):
        lesson = learn(strategy, task)
        leaves = lesson.descent.leaves
        if task:
            theta = dict(strategy.model.named_parameters())
            ours, theirs = strategy.penalty(leaves), reference.ewc_penalty(anchors, theta)
            for name, leaf in theta.items():
                a, b = (
                    torch.autograd.grad(cost, leaf, materialize_grads=True, retain_graph=True)[0]
                    for cost in (ours, theirs)
                )
                torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
            if task == 2:
                costs.append((ours.detach(), theirs.detach()))
                with torch.no_grad():
                    for leaf in leaves.values():
                        leaf += 0.05
                    costs.append((strategy.penalty(leaves), reference.ewc_penalty(anchors, theta)))
        images, labels = data(task)
        diagonal = reference.fisher(strategy.model, lambda x, t=task: strategy.model(x, t), images, labels)
        anchors.append((diagonal, {n: p.detach().clone() for n, p in strategy.model.named_parameters()}))
        lesson.end()
    (ours, theirs), (later, expected) = costs
    torch.testing.assert_close(later - ours, expected - theirs, rtol=1e-3, atol=1e-5)


def test_what_is_kept_does_not_grow_with_the_tasks() -> None:
    strategy = ewc()
    sizes = []
    for task in range(3):
        learn(strategy, task).end()
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
        learn(strategy, 0).end()
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
        learn(strategy, task).end()
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
    strategy.begin(task).end()
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
    lesson = strategy.begin(task)
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            lesson.end()
    finally:
        torch.set_warn_always(False)
    expected = reference.fisher(strategy.model, lambda images: strategy.model(images, 0), x, y)
    for name, value in expected.items():
        torch.testing.assert_close(strategy.fisher[name], value, rtol=1e-3, atol=1e-6)
