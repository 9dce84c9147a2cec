"""What every strategy owes: reproducible, resumable, independent of batches, frozen where it says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch.nn import functional as F

from hypertail.hyper import Curvature
from hypertail.strategies import LatentReplay, Lesson, LwF, PartialHypernet, Separate, Strategy, Task
from hypertail.strategies.adapters import AdapterLesson
from hypertail.strategies.ewc import EWCLesson
from hypertail.strategies.hypernet_lesson import HypernetLesson
from hypertail.strategies.latent_replay import ReplayLesson
from hypertail.strategies.lwf import LwFLesson
from hypertail.strategies.naive import NaiveLesson
from hypertail.strategies.separate import SeparateLesson
from hypertail.training.within import unfinished_of
from support.asserts import (
    assert_every_learning_parameter_gets_gradient,
    assert_prediction_independent_of_batch,
    assert_same_run,
    assert_same_tensors,
    assert_trunk_unchanged,
)
from support.tiny import CONTINUAL, DEPTHS, WITH_TRUNK, InterruptedRunError, Name, StopAfter, build, tiny_stream, train

STREAM = tiny_stream(3, (2, 3, 2), per_class=6)
VARIANTS: dict[str, dict[str, Any]] = {
    "naive": {"name": "naive"},
    "ewc": {"name": "ewc"},
    "lwf": {"name": "lwf"},
    "lwf-full": {"name": "lwf", "depth": 0},
    "lwf-classifier": {"name": "lwf", "depth": 4},
    "lwf-batch-statistics": {"name": "lwf", "statistics": "batch"},
    "lr": {"name": "lr"},
    "lr-images": {"name": "lr", "depth": 0},
    "lr-classifier": {"name": "lr", "depth": 4},
    "lr-reservoir": {"name": "lr", "policy": "reservoir"},
    "lr-batch-statistics": {"name": "lr", "statistics": "batch"},
    "hn": {"name": "hn"},
    "hn-product": {"name": "hn", "code": "product"},
    "hn-full": {"name": "hn", "depth": 0},
    "hn-classifier": {"name": "hn", "depth": 4},
    "hn-second": {"name": "hn", "lookahead": "second"},
    "hn-none-direct": {
        "name": "hn",
        "lookahead": "none",
        "penalty_form": "direct",
        "new_embedding": "copied",
    },
    "hn-optimizer-step": {"name": "hn", "virtual_step": "optimizer", "reduction": "mean"},
    "hn-output": {"name": "hn", "output_weight": 0.3},
    "hn-curvature": {"name": "hn", "curvature": Curvature},
    "hn-adapters": {"name": "hn", "adapter_rank": 2, "curvature": Curvature},
    "hn-adapters-second": {"name": "hn", "adapter_rank": 2, "lookahead": "second", "output_weight": 0.3},
    "hn-begun": {"name": "hn", "begins": True, "adapter_rank": 2, "curvature": Curvature, "output_weight": 0.3},
    "hn-begun-direct": {"name": "hn", "begins": True, "penalty_form": "direct", "lookahead": "none"},
    "hn-given-trunk": {"name": "hn", "learns": False},
    "hn-batch-statistics": {"name": "hn", "statistics": "batch"},
    "adapter": {"name": "adapter"},
    "adapter-classifier": {"name": "adapter", "depth": 4},
    "adapter-resnet": {"name": "adapter", "net": "resnet"},
    "lda": {"name": "lda"},
    "lda-projection": {"name": "lda", "projection_width": 20},
    "separate": {"name": "separate"},
    "separate-full": {"name": "separate", "depth": 0},
    "naive-channels-last": {"name": "naive", "layout": torch.channels_last},
    "ewc-channels-last": {"name": "ewc", "layout": torch.channels_last},
    "lwf-channels-last": {"name": "lwf", "layout": torch.channels_last},
    "lr-channels-last": {"name": "lr", "layout": torch.channels_last},
    "hn-channels-last": {"name": "hn", "layout": torch.channels_last},
    "separate-channels-last": {"name": "separate", "layout": torch.channels_last},
    "separate-resnet-full": {"name": "separate", "net": "resnet", "depth": 0},
}
each_variant = pytest.mark.parametrize("variant", VARIANTS)


def variant_of(variant: str, **more: Any) -> Strategy:
    options = {"classes": 3} | VARIANTS[variant] | more
    if options.get("curvature") is Curvature:
        options["curvature"] = Curvature()
    return build(options.pop("name"), **options)


@pytest.mark.parametrize("state", ["fresh", "kept"])
@each_variant
def test_resumed_equals_uninterrupted(variant: str, state: Literal["fresh", "kept"], tmp_path: Path) -> None:
    whole = variant_of(variant, state=state)
    expected = train(whole, STREAM, epochs=1)
    for stop_in in range(1, len(STREAM)):
        path = tmp_path / f"{stop_in}.safetensors"
        with pytest.raises(InterruptedRunError):
            train(variant_of(variant, state=state), STREAM, epochs=1, checkpoint=path, stop_in=stop_in)
        torch.rand(stop_in)  # the global state differs from run to run
        second = variant_of(variant, state=state)
        resumed = train(second, STREAM, epochs=1, checkpoint=path, resume=True)
        assert_same_run(expected, resumed, whole, second)


@pytest.mark.parametrize("state", ["fresh", "kept"])
@pytest.mark.parametrize("variant", [name for name in VARIANTS if not name.startswith("lda")])
def test_stopped_within_an_epoch_it_goes_on_to_the_same_bits(
    variant: str, state: Literal["fresh", "kept"], tmp_path: Path
) -> None:
    whole = variant_of(variant, state=state)
    expected = train(whole, STREAM, epochs=2)
    # 2, 3 and 2 batches an epoch, and once more after each experience: in the second epoch of each, at an end, between
    for steps in (3, 4, 9, 12, 14):
        path = tmp_path / f"{steps}" / "run.safetensors"
        with pytest.raises(KeyboardInterrupt):
            train(variant_of(variant, state=state), STREAM, epochs=2, checkpoint=path, stop=StopAfter(steps))
        assert unfinished_of(path).is_file() == (steps != 12)
        torch.rand(steps)  # the global state differs from run to run
        second = variant_of(variant, state=state)
        resumed = train(second, STREAM, epochs=2, checkpoint=path, resume=True)
        assert_same_run(expected, resumed, whole, second)
        assert not unfinished_of(path).exists()


@each_variant
def test_resuming_a_finished_run_learns_nothing_more(variant: str, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    first, second = variant_of(variant), variant_of(variant)
    done = train(first, STREAM, epochs=1, checkpoint=path)
    again = train(second, STREAM, epochs=1, checkpoint=path, resume=True)
    assert_same_run(done, again, first, second)


@pytest.mark.parametrize("variant", [name for name in VARIANTS if "batch-statistics" not in name])
def test_a_prediction_does_not_depend_on_its_batch(variant: str) -> None:
    strategy = variant_of(variant)
    train(strategy, STREAM, epochs=1)
    for experience in STREAM:
        images = experience.test_transform(experience.test.images, torch.Generator())
        trunk = strategy.frozen_trunk
        assert_prediction_independent_of_batch(strategy, images if trunk is None else trunk(images), experience.task)


@each_variant
def test_predicting_changes_nothing(variant: str) -> None:
    strategy = variant_of(variant)
    train(strategy, STREAM, epochs=1)
    before = {name: value.clone() for name, value in strategy.state().items()}
    images = STREAM[0].test_transform(STREAM[0].test.images, torch.Generator())
    if strategy.frozen_trunk is not None:
        images = strategy.frozen_trunk(images)
    with torch.no_grad():
        for experience in STREAM:
            logits = strategy.predict(images, experience.task)
            assert logits.shape == (len(images), len(experience.classes))
            assert torch.equal(strategy.prepare(experience.task)(images), logits)
    if "batch-statistics" not in variant:
        assert_same_tensors(before, strategy.state())


@pytest.mark.parametrize("learns", [True, False], ids=["learned", "given"])
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("name", WITH_TRUNK)
def test_the_trunk_does_not_change_after_the_first_experience(name: Name, depth: int, learns: bool) -> None:
    strategy = build(name, depth=depth, learns=learns)
    assert isinstance(strategy, LatentReplay | LwF | PartialHypernet | Separate)
    at_first = {key: value.clone() for key, value in strategy.trunk.module.state_dict().items()}
    stream = tiny_stream(3)
    train(strategy, stream.first(1), epochs=1)
    after_one = {key: value.clone() for key, value in strategy.trunk.module.state_dict().items()}
    if learns and depth > 0:
        assert any(not torch.equal(at_first[key], after_one[key]) for key in at_first)
    else:
        assert_same_tensors(at_first, after_one)
    whole = build(name, depth=depth, learns=learns)
    assert isinstance(whole, LatentReplay | LwF | PartialHypernet | Separate)
    train(whole, stream, epochs=1)
    trunk = whole.frozen_trunk
    assert trunk is not None
    assert_trunk_unchanged({f"module.{key}": value for key, value in after_one.items()}, trunk)


def _leaves(lesson: Lesson) -> dict[str, torch.Tensor]:
    kinds = NaiveLesson | EWCLesson | LwFLesson | ReplayLesson | HypernetLesson | SeparateLesson | AdapterLesson
    assert isinstance(lesson, kinds)
    return lesson.descent.leaves


@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize("net", ["cnn", "resnet", "mlp"])
@pytest.mark.parametrize("name", [name for name in CONTINUAL if name not in ("adapter", "lda")])
def test_every_parameter_that_should_learn_moves(name: Name, net: str, depth: int) -> None:
    """On e_1 all of them; the heads of other tasks apart (naive, EWC)."""
    strategy, stream = build(name, net=net, depth=depth), tiny_stream(2)
    images = stream[0].test_transform(stream[0].train.images, torch.Generator())
    labels = stream[0].train.labels
    lesson = strategy.begin(Task(0, 2, 3, lambda: (images, labels)))
    before = {key: leaf.detach().clone() for key, leaf in _leaves(lesson).items()}
    for _ in range(3):
        lesson.step(images, labels)
    still = {key for key, leaf in _leaves(lesson).items() if torch.equal(before[key], leaf)}
    assert not still


@pytest.mark.parametrize("name", ["lwf", "lr", "hn", "adapter", "separate"])
def test_every_parameter_of_the_tail_still_learns_in_the_second_experience(name: Name) -> None:
    strategy, stream = build(name, net="resnet"), tiny_stream(2)
    train(strategy, stream.first(1), epochs=1)
    images = stream[1].test_transform(stream[1].train.images, torch.Generator())
    assert strategy.frozen_trunk is not None
    features, labels = strategy.frozen_trunk(images), stream[1].train.labels
    lesson = strategy.begin(Task(1, 2, 3, lambda: (features, labels)))
    assert not any(key.startswith("trunk.") for key in _leaves(lesson))
    before = {key: leaf.detach().clone() for key, leaf in _leaves(lesson).items()}
    for _ in range(3):
        lesson.step(features, labels)
    assert not {key for key, leaf in _leaves(lesson).items() if torch.equal(before[key], leaf)}


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_cross_entropy_reaches_trunk_and_hypernetwork(depth: int) -> None:
    strategy = build("hn", net="resnet", depth=depth)
    assert isinstance(strategy, PartialHypernet)
    images = STREAM[0].test_transform(STREAM[0].train.images, torch.Generator())
    lesson = strategy.begin(Task(0, 2, 1, lambda: (images, STREAM[0].train.labels)))
    strategy.net.tail.train()
    loss = F.cross_entropy(strategy.net(images, 0), STREAM[0].train.labels)
    assert_every_learning_parameter_gets_gradient(loss, _leaves(lesson))


@pytest.mark.parametrize("variant", ["naive", "lwf", "lr", "hn", "lda", "lda-projection", "separate"])
def test_memory_is_counted_in_bytes_of_named_purposes(variant: str) -> None:
    strategy = variant_of(variant)
    result = train(strategy, STREAM, epochs=1)
    memory = strategy.memory()
    assert all(isinstance(size, int) and size > 0 for size in memory.values())
    assert result.bytes_per_experience[-1] == sum(memory.values())
    if isinstance(strategy, PartialHypernet):
        assert memory["hypernetwork"] == 4 * sum(p.numel() for p in strategy.hyper.parameters())
