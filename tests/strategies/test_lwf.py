"""Learning without forgetting: its loss equals a slow twin, and what it promises of earlier answers holds."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hypertail.errors import ConfigError
from hypertail.strategies import LatentReplay, LwF, Naive, Optimisation, Task, Trunk
from hypertail.strategies.lwf import LwFLesson, distillation
from hypertail.strategies.parts.multihead import MultiHead
from support.asserts import assert_same_tensors, state_of
from support.tiny import backbone, build, tiny_stream, train

CLASSES = (2, 3, 2)
STREAM = tiny_stream(3, CLASSES)
WITHOUT_BATCH_NORM: dict[str, Any] = {"net": "mlp", "depth": 1}
"""Whose tail has layer normalisation."""


def lwf(**options: Any) -> LwF:
    strategy = build("lwf", **({"classes": 3} | options))
    assert isinstance(strategy, LwF)
    return strategy


def data(strategy: LwF, task: int) -> tuple[Tensor, Tensor]:
    images = STREAM[task].test_transform(STREAM[task].train.images, torch.Generator())
    images = images.to(next(strategy.parameters()).dtype)
    trunk = strategy.frozen_trunk
    return images if trunk is None else trunk(images), STREAM[task].train.labels


def begun(strategy: LwF, task: int, steps: int = 4) -> LwFLesson:
    precision = next(strategy.parameters()).dtype
    lesson = strategy.begin(Task(task, CLASSES[task], steps, lambda: data(strategy, task)))
    strategy.to(precision)  # a new head is of float32
    return lesson


def learned(tasks: int, *, double: bool = False, steps: int = 3, **options: Any) -> LwF:
    """A strategy that has learned so many tasks, on all their images at once."""
    strategy = lwf(learns=False, **options)
    if double:
        strategy.double()
    for task in range(tasks):
        lesson = begun(strategy, task, steps)
        for _ in range(steps):
            lesson.step(*data(strategy, task))
        lesson.end()
    return strategy


# --- the loss ----------------------------------------------------------------------------------------------------


def slow_distillation(now: Sequence[Sequence[float]], before: Sequence[Sequence[float]], temperature: float) -> float:
    """Eqs. 2 and 3 as printed, from probabilities, in plain Python; times T squared."""
    total = 0.0
    for logits, recorded in zip(now, before, strict=True):
        softened = []
        for row in (recorded, logits):
            odds = [math.exp(value) for value in row]
            probabilities = [value / sum(odds) for value in odds]
            roots = [probability ** (1 / temperature) for probability in probabilities]
            softened.append([root / sum(roots) for root in roots])
        total -= sum(y * math.log(z) for y, z in zip(*softened, strict=True))
    return temperature**2 * total / len(now)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 7.0])
@pytest.mark.parametrize("classes", [2, 5])
def test_the_distillation_is_its_slow_twin(classes: int, temperature: float) -> None:
    now, before = drawn(4, classes), drawn(4, classes, seed=1)
    expected = slow_distillation(now.tolist(), before.tolist(), temperature)
    assert float(distillation(now, before, temperature)) == pytest.approx(expected, rel=1e-12)


def test_where_the_answers_are_those_recorded_the_gradient_is_zero() -> None:
    now = drawn(4, 5).requires_grad_()
    [gradient] = torch.autograd.grad(distillation(now, now.detach(), 2.0), now)
    assert float(gradient.abs().max()) < 1e-15
    least = distillation(now, now.detach(), 2.0)
    for seed in range(1, 20):
        assert distillation(now + 0.3 * drawn(4, 5, seed=seed), now.detach(), 2.0) > least


def test_hot_answers_are_held_by_the_square_of_their_difference() -> None:
    """Hinton et al., section 2.1: for a high T the gradient is (z - v) / classes, both without their mean."""
    now, before = drawn(1, 5).requires_grad_(), drawn(1, 5, seed=1)
    [gradient] = torch.autograd.grad(distillation(now, before, 1e4), now)
    difference = (now - before).detach()
    torch.testing.assert_close(gradient, (difference - difference.mean()) / 5, rtol=1e-3, atol=1e-4)


def test_what_was_recorded_gets_no_gradient() -> None:
    now, before = drawn(4, 5).requires_grad_(), drawn(4, 5, seed=1).requires_grad_()
    gradients = torch.autograd.grad(distillation(now, before, 2.0), (now, before), allow_unused=True)
    assert gradients[0] is not None
    assert gradients[1] is None


# --- a step ------------------------------------------------------------------------------------------------------


def slow_cost(before: MultiHead, tail: MultiHead, features: Tensor, temperature: float) -> Tensor:
    """The distillation of all earlier heads, head by head and image by image."""
    total = features.new_zeros(())
    for old in before.widths:
        now = tail.heads[str(old)](tail.body(features))
        for image, row in zip(features, now, strict=True):
            recorded = before.eval()(image.unsqueeze(0), old)[0].detach()
            target = torch.softmax(recorded, 0) ** (1 / temperature)
            share = torch.softmax(row, 0) ** (1 / temperature)
            terms = -(target / target.sum()) * torch.log(share / share.sum())
            total = total + temperature**2 * terms.sum() / len(features)
    return total


@pytest.mark.parametrize("options", [{}, {"depth": 0}, {"net": "resnet"}, WITHOUT_BATCH_NORM], ids=str)
def test_steps_are_those_of_a_slow_twin(options: dict[str, Any]) -> None:
    """In float64: the new head's cross-entropy and the distillation of both earlier heads, at two steps."""
    strategy = learned(2, double=True, weight=0.7, temperature=3.0, schedule="constant", **options)
    before = copy.deepcopy(strategy.tail)
    features, labels = data(strategy, 2)
    lesson = begun(strategy, 2)
    twin = copy.deepcopy(strategy.tail)
    adam = torch.optim.Adam(twin.parameters(), lr=strategy.optimisation.lr)
    for _ in range(2):
        statistics = state_of(twin)
        twin.train()
        current = F.cross_entropy(twin.heads["2"](twin.body(features)), labels)
        cost = slow_cost(before, twin, features, 3.0)
        adam.zero_grad()
        (current + 0.7 * cost).backward()
        # the twin went through the batch once for each head: its statistics follow it once
        twin.load_state_dict(statistics)
        twin.body(features)
        adam.step()
        torch.testing.assert_close(lesson.step(features, labels), current.detach())
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(strategy.tail.state_dict()[name], value, rtol=1e-6, atol=1e-8)


def gradients_at_the_start(strategy: LwF) -> tuple[Tensor, list[Tensor]]:
    """Distillation and its gradient before the first step on the last task, by a body in training mode."""
    features, _ = data(strategy, 2)
    lesson = begun(strategy, 2)
    strategy.tail.train()
    cost = lesson.distilled(strategy.tail.of_every_task(features), features)
    leaves = [leaf for name, leaf in lesson.descent.leaves.items() if not name.startswith("heads.2.")]
    return cost, list(torch.autograd.grad(cost, leaves))


def test_at_the_start_nothing_pulls() -> None:
    """The tail that learns is the tail that answered, so that only the new task moves it."""
    cost, gradients = gradients_at_the_start(learned(2, double=True, **WITHOUT_BATCH_NORM))
    assert cost > 0
    assert max(float(gradient.abs().max()) for gradient in gradients) < 1e-12


def test_batch_statistics_of_new_images_are_felt_from_the_start() -> None:
    """The copy answers by its running statistics, the tail that learns by those of the batch."""
    strategy = learned(2, double=True)
    cost, gradients = gradients_at_the_start(strategy)
    assert max(float(gradient.abs().max()) for gradient in gradients) > 1e-4
    features = data(strategy, 2)[0]
    recorded = strategy.tail.eval().of_every_task(features)
    least = torch.stack([distillation(recorded[old], recorded[old], 2.0) for old in (0, 1)]).sum()
    assert cost > least


def test_the_copy_never_changes_and_answers_each_image_by_itself() -> None:
    strategy = learned(2)
    lesson = begun(strategy, 2)
    before = lesson.before
    assert before is not None
    assert list(before.widths) == [0, 1]
    assert not any(leaf.requires_grad for leaf in before.parameters())
    state, features = state_of(before), data(strategy, 2)[0]
    together = before.of_every_task(features)
    strategy.train()  # strategies are modules, which anyone may put into training mode
    for _ in range(3):
        lesson.step(*data(strategy, 2))
    assert_same_tensors(state, state_of(before))
    assert not any(part.training for part in before.modules())
    for old in (0, 1):
        alone = torch.cat([before(image.unsqueeze(0), old) for image in features])
        torch.testing.assert_close(alone, together[old])
    shared = {id(leaf) for leaf in before.parameters()} & {id(leaf) for leaf in strategy.parameters()}
    assert not shared


def test_earlier_heads_learn_too() -> None:
    """Fig. 2: shared weights, new and old heads are all trained."""
    strategy = learned(1)
    lesson, before = begun(strategy, 1), state_of(strategy.tail)
    for _ in range(2):
        lesson.step(*data(strategy, 1))
    after = state_of(strategy.tail)
    assert not [name for name in before if "num_batches" not in name and torch.equal(before[name], after[name])]


# --- what it promises --------------------------------------------------------------------------------------------


def of_tail(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def test_without_weight_it_is_naive_training() -> None:
    strategy, naive = lwf(weight=0.0, depth=0), build("naive", classes=3)
    assert isinstance(naive, Naive)
    results = [train(each, STREAM) for each in (strategy, naive)]
    assert results[0].losses == results[1].losses
    assert_same_tensors(of_tail(strategy.state(), "tail."), of_tail(naive.state(), "model."))


@pytest.mark.parametrize("learns", [True, False])
def test_without_weight_behind_a_trunk_it_is_replay_without_replay(learns: bool) -> None:
    strategy, replay = lwf(weight=0.0, learns=learns), build("lr", classes=3, coefficient=0.0, learns=learns)
    assert isinstance(replay, LatentReplay)
    results = [train(each, STREAM) for each in (strategy, replay)]
    assert results[0].losses == results[1].losses
    for part in ("tail.", "trunk."):
        assert_same_tensors(of_tail(strategy.state(), part), of_tail(replay.state(), part))


@torch.no_grad()
def answers(strategy: LwF, task: int, images_of: int) -> Tensor:
    return torch.softmax(strategy.predict(data(strategy, images_of)[0], task), 1)


@pytest.mark.parametrize("options", [{}, WITHOUT_BATCH_NORM], ids=["batch norm", "layer norm"])
def test_the_larger_the_weight_the_less_earlier_answers_move(options: dict[str, Any]) -> None:
    moved = []
    for weight in (0.0, 1.0, 30.0):
        strategy = learned(1, steps=10, weight=weight, **options)
        before = answers(strategy, 0, 1)
        lesson = begun(strategy, 1, 40)
        for _ in range(40):
            lesson.step(*data(strategy, 1))
        lesson.end()
        moved.append(float((answers(strategy, 0, 1) - before).abs().mean()))
    assert moved == sorted(moved, reverse=True)
    assert moved[2] < 0.5 * moved[0]


def test_where_nothing_is_shared_earlier_heads_stay_as_they_are() -> None:
    """At depth 4 a classifier alone learns: what could move earlier heads is rounding error, which Adam scales up."""
    strategy = learned(1, depth=4, weight=30.0)
    head = state_of(strategy.tail.heads["0"])
    lesson = begun(strategy, 1)
    assert lesson.before is None
    for _ in range(4):
        lesson.step(*data(strategy, 1))
    lesson.end()
    assert_same_tensors(head, state_of(strategy.tail.heads["0"]))


def test_the_tail_is_all_that_is_kept() -> None:
    strategy = learned(1)
    names, kept = set(strategy.state()), strategy.memory()
    assert kept == {"tail": sum(value.nbytes for value in strategy.tail.state_dict().values())}
    lesson = begun(strategy, 1)
    lesson.step(*data(strategy, 1))
    assert {name for name in strategy.state() if name not in names} == {"tail.heads.1.weight", "tail.heads.1.bias"}


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"weight": -1.0}, "weight -1.0, temperature 2.0"),
        ({"temperature": 0.0}, "weight 1.0, temperature 0.0"),
        ({"temperature": math.nan}, "weight 1.0, temperature nan"),
    ],
)
def test_numbers_out_of_range_are_refused(options: dict[str, Any], found: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LwF(Trunk(nn.Sequential(), learns=False), backbone("mlp"), Optimisation(), **options)
    assert str(caught.value) == (
        f"distillation: required a weight of 0 or more and a temperature above 0; found {found}. "
        "The defaults are 1 and 2."
    )
