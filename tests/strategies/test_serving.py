"""Serving changes no task: evaluation mode unless a step is being taken (case 28)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hypertail.hyper import Curvature
from hypertail.strategies import (
    EWC,
    Adapters,
    Joint,
    LatentReplay,
    Lda,
    LwF,
    Naive,
    PartialHypernet,
    Separate,
    Strategy,
    Task,
    Trunk,
)
from support.asserts import assert_same_tensors, state_of
from support.tiny import backbone, build, tiny_stream, train

STREAM = tiny_stream(3, (2, 3, 2), per_class=6)
VARIANTS: dict[str, dict[str, Any]] = {
    "naive": {"name": "naive"},
    "ewc": {"name": "ewc"},
    "lwf": {"name": "lwf"},
    "lwf-full": {"name": "lwf", "depth": 0},
    "lr": {"name": "lr"},
    "lr-images": {"name": "lr", "depth": 0},
    "lr-batch-statistics": {"name": "lr", "statistics": "batch"},
    "hn": {"name": "hn"},
    "hn-full": {"name": "hn", "depth": 0, "lookahead": "none"},
    "hn-output": {"name": "hn", "output_weight": 0.3, "lookahead": "none"},
    "hn-curvature": {"name": "hn", "curvature": Curvature},
    "hn-batch-statistics": {"name": "hn", "statistics": "batch"},
    "adapter": {"name": "adapter"},
    "lda": {"name": "lda"},
    "lda-projection": {"name": "lda", "projection_width": 20},
    "separate": {"name": "separate"},
    "joint": {"name": "joint"},
}
each_variant = pytest.mark.parametrize("variant", VARIANTS)


def variant_of(variant: str) -> Strategy:
    options = {"classes": 3} | VARIANTS[variant]
    if options.get("curvature") is Curvature:
        options["curvature"] = Curvature()
    return build(options.pop("name"), **options)


def images(task: int) -> Tensor:
    return STREAM[task].test_transform(STREAM[task].test.images, torch.Generator())


def inputs(strategy: Strategy, task: int) -> Tensor:
    trunk = strategy.frozen_trunk
    return images(task) if trunk is None else trunk(images(task))


def copied(strategy: Strategy) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in strategy.state().items()}


def modules(strategy: Strategy) -> list[nn.Module]:
    if isinstance(strategy, PartialHypernet):
        return [strategy.net.trunk, strategy.net.tail]
    if isinstance(strategy, Separate):
        return [strategy.trunk, strategy.tails]
    if isinstance(strategy, LatentReplay | LwF):
        return [strategy.trunk, strategy.tail]
    if isinstance(strategy, Adapters):
        return [strategy.trunk, strategy.body, strategy.tails]
    if isinstance(strategy, Lda):
        return [strategy.trunk]
    assert isinstance(strategy, Naive | EWC | Joint)
    return [strategy.model]


def restored(variant: str) -> tuple[Strategy, Strategy]:
    """A strategy that has learned, and what a fresh process makes of its state."""
    strategy, other = variant_of(variant), variant_of(variant)
    with torch.enable_grad():
        train(strategy, STREAM, epochs=1)
    other.load_state(copied(strategy))
    return strategy, other


@each_variant
@torch.no_grad()
def test_a_fresh_process_answers_like_the_one_that_learned(variant: str) -> None:
    """case 28: one image at a time gave garbage, and the statistics of the task were overwritten."""
    strategy, other = restored(variant)
    assert not any(part.training for module in modules(other) for part in module.modules())
    before = copied(other)
    for task in (2, 0, 1):
        x = inputs(other, task)
        together = other.predict(x, task)
        assert torch.equal(together, strategy.predict(x, task))
        assert torch.equal(other.prepare(task)(x), together)
        if "batch-statistics" not in variant:
            alone = torch.cat([other.predict(x[i : i + 1], task) for i in range(len(x))])
            torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)
    assert_same_tensors(before, other.state())
    assert_same_tensors(before, strategy.state())
    assert not any(part.training for module in modules(other) for part in module.modules())


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name.startswith("hn")])
@pytest.mark.parametrize("asked", ["fresh process", "training mode"])
@torch.no_grad()
def test_the_network_itself_serves_without_a_trace(variant: str, asked: str) -> None:
    """case 28: `strategy.net(image, task)`, whatever mode someone left its parts in."""
    _, other = restored(variant)
    assert isinstance(other, PartialHypernet)
    if asked == "training mode":
        other.net.tail.train()
        other.net.trunk.train()
    before = copied(other)
    for task in range(3):
        together = other.net(images(task), task)
        alone = torch.cat([other.net(image.unsqueeze(0), task) for image in images(task)])
        torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)
        module = other.net.materialize(task)
        torch.testing.assert_close(module(images(task)), together, rtol=1e-4, atol=1e-5)
        if "batch-statistics" not in variant:
            torch.testing.assert_close(other.predict(inputs(other, task), task), together, rtol=1e-4, atol=1e-5)
    assert_same_tensors(before, other.state())


@each_variant
def test_predictions_between_steps_neither_disturb_training_nor_are_disturbed(variant: str) -> None:
    """case 28."""
    quiet, asked = variant_of(variant), variant_of(variant)
    train(quiet, STREAM.first(1), epochs=1)
    train(asked, STREAM.first(1), epochs=1)
    for strategy in (quiet, asked):
        x, y = inputs(strategy, 1), STREAM[1].test.labels
        task = Task(1, 3, 3, lambda x=x, y=y: (x, y))  # type: ignore[misc]
        lesson = strategy.begin(task)
        prepared = strategy.prepare(0)
        for _ in range(3):
            lesson.step(x, y)
            if strategy is asked:
                between = copied(strategy)
                with torch.no_grad():
                    for old in (0, 1):
                        together = strategy.predict(inputs(strategy, old), old)
                        if "batch-statistics" not in variant:
                            alone = strategy.predict(inputs(strategy, old)[:1], old)
                            torch.testing.assert_close(alone, together[:1], rtol=1e-4, atol=1e-5)
                    prepared(inputs(strategy, 0))
                assert_same_tensors(between, strategy.state())
        lesson.end()
    assert_same_tensors(quiet.state(), asked.state())


@pytest.mark.parametrize("variant", [name for name in VARIANTS if not name.startswith("hn")])
def test_everything_is_in_evaluation_mode_after_an_experience(variant: str) -> None:
    """case 28."""
    strategy = variant_of(variant)
    assert not any(part.training for module in modules(strategy) for part in module.modules())
    train(strategy, STREAM, epochs=1)
    assert not any(part.training for module in modules(strategy) for part in module.modules())


def test_what_is_trained_after_loading_does_not_change_the_state_that_was_loaded() -> None:
    """case 28: statistics were those of the state itself, and moved with it."""
    strategy, other = variant_of("hn"), variant_of("hn")
    train(strategy, STREAM.first(1), epochs=1)
    state = strategy.state()
    before = {name: value.clone() for name, value in state.items()}
    other.load_state(state)
    assert isinstance(other, PartialHypernet)
    other.net.logits(other.net.weights(0), inputs(other, 0), 0, training=True)
    assert_same_tensors(before, state)


def test_batch_statistics_of_a_frozen_trunk_leave_its_running_ones_alone() -> None:
    """case 28: a prediction moved them, and with them what `materialize` gives for every task."""
    trunk = Trunk(backbone("cnn")[:3], learns=True, statistics="batch")
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    trunk.features(x, training=True)
    trunk.freeze()
    before = state_of(trunk)
    expected = trunk.module.train()(x)
    trunk.load_state_dict(before)
    for training in (True, False):
        assert torch.equal(trunk.features(x, training=training), expected)
        assert not any(part.training for part in trunk.modules())
    assert_same_tensors(before, trunk.state_dict())


@pytest.mark.parametrize("variant", ["lr", "hn", "hn-batch-statistics", "separate"])
def test_training_mode_does_not_reach_a_frozen_trunk(variant: str) -> None:
    """Case 28: strategies are modules, which anyone may put into training mode."""
    strategy = variant_of(variant)
    train(strategy, STREAM.first(1), epochs=1)
    strategy.train()
    trunk = strategy.trunk
    assert isinstance(trunk, Trunk)
    assert not any(part.training for part in trunk.modules())
    before = state_of(trunk)
    for features in (trunk, *([trunk.cacheable] if trunk.cacheable is not None else [])):
        assert not features(images(1)).requires_grad
    assert_same_tensors(before, trunk.state_dict())
