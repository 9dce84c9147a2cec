"""Shared parameters are slower, and held more firmly, where a task takes few steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from hypertail.errors import ConfigError
from hypertail.strategies import Pace, PartialHypernet, Separate, Task
from hypertail.strategies.hypernet_lesson import HypernetLesson, LaterLesson
from support.tiny import build, tiny_stream

STREAM = tiny_stream(3)


def test_at_the_reference_and_beyond_nothing_changes() -> None:
    pace = Pace(400)
    assert [pace.rate(steps) for steps in (400, 401, 10_000)] == [1.0, 1.0, 1.0]
    assert [pace.weight(steps) for steps in (400, 10_000)] == [1.0, 1.0]
    assert not pace.is_short(400)


def test_below_it_the_rate_falls_and_the_weight_rises_with_the_square_of_the_steps() -> None:
    pace = Pace(400)
    assert pace.is_short(399)
    assert pace.rate(200) == pytest.approx(1 / 4)
    assert pace.rate(100) == pytest.approx(1 / 16)
    assert pace.weight(100) == pytest.approx(16)
    rates = [pace.rate(steps) for steps in range(0, 500, 7)]
    assert rates == sorted(rates)
    assert min(rates) > 0


def test_without_a_reference_nothing_changes() -> None:
    pace = Pace()
    assert (pace.rate(1), pace.weight(1), pace.is_short(1)) == (1.0, 1.0, False)
    assert (Pace(1).rate(1), Pace(1).is_short(1)) == (1.0, False)


def test_a_reference_below_one() -> None:
    with pytest.raises(ConfigError, match="reference steps: required 1 or more; found 0"):
        Pace(0)


def rates(steps: int, **options: Any) -> dict[str, float]:
    """First part of a parameter's name -> its learning rate in a first experience of so many steps."""
    strategy = build("hn", net="resnet", depth=3, tasks=3, adapter_rank=2, pace=Pace(400), **options)
    images = STREAM[0].test_transform(STREAM[0].train.images, torch.Generator())
    lesson = strategy.begin(Task(0, 2, steps, lambda: (images, STREAM[0].train.labels)))
    assert isinstance(lesson, HypernetLesson)
    descent = lesson.descent
    of = {id(leaf): float(group["lr"]) for group in descent.adam.param_groups for leaf in group["params"]}
    return {name.partition(".")[0]: of[id(leaf)] for name, leaf in descent.leaves.items()}


def test_what_tasks_share_is_slowed_down_and_what_one_task_owns_is_not() -> None:
    usual, few = rates(400), rates(40)
    assert few["heads"] == pytest.approx(usual["heads"] / 100)
    assert few["mlp"] == pytest.approx(usual["mlp"] / 100)

    chosen = rates(40, rates={"task": 3e-2})
    assert chosen["tables"] == chosen["adapters"] == pytest.approx(3e-2)
    assert chosen["heads"] == chosen["trunk"] == pytest.approx(usual["heads"] / 100)


def test_the_penalty_of_a_later_task_weighs_more_where_its_steps_are_few() -> None:
    strategy = build("hn", tasks=2, learns=False, pace=Pace(400), penalty_weight=0.3)
    nothing = torch.empty(0), torch.empty(0)
    strategy.begin(Task(0, 2, 400, lambda: nothing)).end()
    for task, (steps, factor) in enumerate(((400, 1), (100, 16)), start=1):
        lesson = strategy.begin(Task(task, 2, steps, lambda: nothing))
        assert isinstance(lesson, LaterLesson)
        assert lesson.weight == pytest.approx(0.3 * factor)


def statistics(strategy: PartialHypernet | Separate, task: int) -> dict[str, Tensor]:
    if isinstance(strategy, Separate):
        return dict(strategy.tail(task).named_buffers())
    return dict(strategy.net.statistics[task])


@pytest.mark.parametrize("name", ["hn", "separate"])
def test_statistics_of_a_short_task_are_those_of_its_features_under_the_final_weights(name: str) -> None:
    strategy = build(name, net="resnet", depth=3, learns=False, **({"tasks": 2} if name == "hn" else {}))
    assert isinstance(strategy, PartialHypernet | Separate)
    strategy.pace = Pace(400)
    assert strategy.frozen_trunk is not None
    images = STREAM[0].test_transform(STREAM[0].train.images, torch.Generator())
    with torch.no_grad():
        features, labels = strategy.frozen_trunk(images), STREAM[0].train.labels
    task = Task(0, 2, 2, lambda: (features, labels))
    lesson = strategy.begin(task)
    for _ in range(2):
        lesson.step(features[:8], labels[:8])
    lesson.end()

    # twin: the first layer sees the features themselves
    if isinstance(strategy, Separate):
        tail = strategy.tail(0)
        first = next(module for module in tail.modules() if isinstance(module, torch.nn.Conv2d))
        outputs = first(features)
    else:
        weights = strategy.net.weights(0)
        first_name = next(key for key, value in weights.items() if value.dim() == 4)
        first = strategy.net.tail.get_submodule(first_name.removesuffix(".weight"))
        assert isinstance(first, torch.nn.Conv2d)
        outputs = torch.nn.functional.conv2d(features, weights[first_name], None, first.stride, first.padding)
    own = statistics(strategy, 0)
    mean = next(value for key, value in own.items() if key.endswith("running_mean"))
    variance = next(value for key, value in own.items() if key.endswith("running_var"))
    torch.testing.assert_close(mean, outputs.mean((0, 2, 3)).detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(variance, outputs.var((0, 2, 3)).detach(), rtol=1e-4, atol=1e-5)


def test_a_long_task_keeps_its_running_average() -> None:
    def learned(pace: Pace) -> PartialHypernet:
        strategy = build("hn", net="resnet", depth=3, tasks=2, learns=False, pace=pace)
        assert isinstance(strategy, PartialHypernet)
        assert strategy.frozen_trunk is not None
        images = STREAM[0].test_transform(STREAM[0].train.images, torch.Generator())
        with torch.no_grad():
            features = strategy.frozen_trunk(images)
        task = Task(0, 2, 2, lambda: (features, STREAM[0].train.labels))
        lesson = strategy.begin(task)
        for _ in range(2):
            lesson.step(features[:8], STREAM[0].train.labels[:8])
        lesson.end()
        return strategy

    never, long = learned(Pace()), learned(Pace(2))
    assert all(torch.equal(value, long.net.statistics[0][name]) for name, value in never.net.statistics[0].items())
