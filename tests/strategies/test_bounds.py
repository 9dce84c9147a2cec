from __future__ import annotations

import pytest
import torch

from hypertail.nets import Frozen
from hypertail.strategies import Joint, Optimisation, Separate, Trunk
from support.asserts import assert_same_tensors, assert_trunk_unchanged, state_of
from support.tiny import backbone, build, tiny_stream, train

STREAM = tiny_stream(3, (2, 3, 2))


def separate(**options: int) -> Separate:
    strategy = build("separate", **options)  # type: ignore[arg-type]
    assert isinstance(strategy, Separate)
    return strategy


def test_earlier_tails_never_change() -> None:
    first, whole = separate(), separate()
    train(first, STREAM.first(1), epochs=1)
    train(whole, STREAM, epochs=1)
    assert len(whole.tails) == 3
    assert_same_tensors(state_of(first.tail(0)), state_of(whole.tail(0)))


def test_separate_tails_forget_nothing() -> None:
    accuracy = train(separate(), STREAM).accuracy
    for task in range(3):
        assert (accuracy[task:, task] == accuracy[task, task]).all()


def test_tails_are_as_wide_as_their_task() -> None:
    strategy = separate()
    train(strategy, STREAM, epochs=1)
    images = torch.zeros(2, 3, 8, 8)
    assert strategy.frozen_trunk is not None
    widths = [strategy.predict(strategy.frozen_trunk(images), task).shape[1] for task in range(3)]
    assert widths == [2, 3, 2]


def test_a_copy_per_task_is_counted() -> None:
    strategy = separate()
    result = train(strategy, tiny_stream(3), epochs=1)
    one, two, three = result.bytes_per_experience
    assert one > 0
    assert (two, three) == (2 * one, 3 * one)


def test_joint_learns_all_tasks_at_once_and_measures_the_last_row_only() -> None:
    strategy = build("joint", net="mlp", classes=3)
    assert isinstance(strategy, Joint)
    result = train(strategy, STREAM, epochs=15)
    assert strategy.all_at_once
    assert result.accuracy[:-1].isnan().all()
    assert not result.accuracy[-1].isnan().any()
    assert float(result.accuracy[-1].min()) > 0.8
    assert [len(losses) for losses in result.losses] == [15]
    assert [head.out_features for head in strategy.model.heads.values()] == [2, 3, 2]


def test_joint_leaves_the_model_it_was_given_alone() -> None:
    model = backbone("mlp")
    before = state_of(model)
    train(Joint(model, Optimisation()), tiny_stream(2), epochs=1)
    assert_same_tensors(before, model.state_dict())


@pytest.mark.parametrize("training", [True, False])
def test_a_given_trunk_is_frozen_from_the_start(training: bool) -> None:
    module = backbone("cnn").train(training)
    trunk = Trunk(module, learns=False)
    assert isinstance(trunk.cacheable, Frozen)
    assert trunk.group() == {}
    before = state_of(trunk.cacheable)
    trunk.cacheable.train()(torch.rand(4, 3, 8, 8))
    assert_trunk_unchanged(before, trunk.cacheable)


def test_a_trunk_without_parameters_has_nothing_to_learn() -> None:
    trunk = Trunk(torch.nn.Sequential(), learns=True)
    assert not trunk.learning
    assert trunk.cacheable is not None


def test_batch_statistics_make_features_depend_on_the_batch_as_the_authors_code_does() -> None:
    trunk = Trunk(backbone("cnn")[:2], learns=False, statistics="batch")
    assert trunk.cacheable is None
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    together = trunk.features(images, training=False)
    alone = trunk.features(images[:1], training=False)
    assert not torch.allclose(together[:1], alone, atol=1e-3)
    assert not together.requires_grad
