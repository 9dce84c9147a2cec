"""Learning experiences one by one, without a stream."""

from __future__ import annotations

import doctest
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hypertail.errors import ConfigError, TrainingError
from hypertail.nets import decompose
from hypertail.strategies import Joint, Naive, Optimisation, PartialHypernet, Task, tuned_hypernet
from hypertail.strategies.naive import NaiveLesson
from hypertail.training import FeatureCache, Trainer, learn_experience, loop
from support.asserts import assert_same_tensors
from support.tiny import backbone, build, tiny_stream

STREAM = tiny_stream(2, (2, 3))


def strategy() -> PartialHypernet:
    return tuned_hypernet(*decompose(backbone("resnet", 3), 2), tasks=2)


def test_experiences_learned_one_by_one_end_like_their_stream() -> None:
    """Nothing of a stream is needed but its experiences, and no object but the strategy goes from one to the next."""
    whole, one_by_one = strategy(), strategy()
    result = Trainer(STREAM, whole, epochs=2, batch_size=8).run()
    losses = [
        learn_experience(one_by_one, experience, epochs=2, batch_size=8, name=STREAM.task_name(experience.task))
        for experience in STREAM
    ]
    assert losses == result.losses
    assert_same_tensors(whole.state(), one_by_one.state())


def test_tasks_are_named_and_may_come_in_any_order() -> None:
    own = build("naive", classes=3)
    for experience, name in zip(reversed(list(STREAM)), ("later", "earlier"), strict=True):
        learn_experience(own, experience, epochs=1, name=name)
    assert own.tasks == (1, 0)
    assert own.id_of("later") == 1


def test_the_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    learn_experience(strategy(), STREAM[0], epochs=1)
    assert torch.equal(torch.get_rng_state(), before)


class Drawing(Naive):
    """Draws from the global state at every step, some times more than others."""

    def __init__(self, waste: int) -> None:
        super().__init__(backbone("mlp"), Optimisation())
        self.waste, self.drawn = waste, list[float]()

    def begin(self, task: Task) -> NaiveLesson:
        lesson = super().begin(task)
        step = lesson.step

        def drawing(inputs: Tensor, labels: Tensor, task: int | None = None) -> Tensor:
            self.drawn.append(float(torch.rand(1 + self.waste)[0]))
            return step(inputs, labels, task)

        lesson.step = drawing  # type: ignore[method-assign]
        return lesson


class Recorded(Joint):
    """Writes down the tasks of its batches."""

    def __init__(self, model: nn.Module, optimisation: Optimisation) -> None:
        super().__init__(model, optimisation)
        self.tasks_seen: list[int | None] = []

    def begin(self, task: Task) -> NaiveLesson:
        lesson = super().begin(task)
        step = lesson.step

        def recorded(inputs: Tensor, labels: Tensor, task: int | None = None) -> Tensor:
            self.tasks_seen.append(task)
            return step(inputs, labels, task)

        lesson.step = recorded  # type: ignore[method-assign]
        return lesson


def test_what_a_step_draws_follows_from_its_number_alone() -> None:
    """So that a run could go on in the middle of an epoch."""
    few, many = Drawing(0), Drawing(5)
    for own in (few, many):
        learn_experience(own, STREAM[0], epochs=2, batch_size=8)
    assert few.drawn == many.drawn
    assert len(set(few.drawn)) == 6


def test_progress_counts_the_steps_of_the_experience() -> None:
    seen: list[tuple[int, int, str]] = []
    learn_experience(
        build("naive"), STREAM[0], epochs=2, batch_size=8, progress=lambda *state: seen.append(state), name="a"
    )
    assert [(done, total) for done, total, _ in seen] == [(3, 6), (6, 6)]
    assert seen[1][2].startswith("task 0, epoch 2/2, loss ")


def test_what_takes_no_steps_is_shown_no_augmented_image(tmp_path: Path) -> None:
    """Every view was computed, and nothing read it."""

    def unwanted(images: Tensor, generator: torch.Generator) -> Tensor:
        raise AssertionError("images are augmented")

    tests_only = tuple(replace(experience, train_transform=unwanted) for experience in STREAM)
    stream, seen = replace(STREAM, experiences=tests_only), list[tuple[int, int, str]]()
    whole, one_by_one = build("lda"), build("lda")
    path = tmp_path / "checkpoint.safetensors"
    cache = FeatureCache(seed=0, views=2)
    trainer = Trainer(stream, whole, epochs=3, checkpoint=path, cache=cache, progress=lambda *now: seen.append(now))
    result = trainer.run()
    assert seen == [(1, 2, "experience 1/2"), (2, 2, "experience 2/2")]
    assert result.losses == [[], []]
    seen.clear()
    for experience in stream:
        losses = learn_experience(one_by_one, experience, epochs=3, progress=lambda *now: seen.append(now))
        assert losses == []
    assert seen == [(1, 1, "task 0"), (1, 1, "task 1")]
    assert_same_tensors(
        {name: value for name, value in whole.state().items() if not name.startswith("names")},
        {name: value for name, value in one_by_one.state().items() if not name.startswith("names")},
    )
    # views decide nothing
    again = build("lda")
    Trainer(stream, again, epochs=3, checkpoint=path, cache=FeatureCache(seed=0, views=5)).run(resume=True)
    assert_same_tensors(whole.state(), again.state())


def test_joint_batches_are_mixed_over_the_tasks() -> None:
    """Not one task after another, nor in the same order in each epoch."""
    order = Recorded(backbone("mlp", 3), Optimisation())
    Trainer(STREAM, order, epochs=2, batch_size=4).run()
    tasks = order.tasks_seen
    epoch = [0] * 5 + [1] * 8
    assert [sorted(tasks[:13]), sorted(tasks[13:])] == [epoch, epoch]
    assert epoch not in (tasks[:13], tasks[13:])
    assert tasks[:13] != tasks[13:]


def test_learning_twice_or_not_at_all_is_refused() -> None:
    own = build("naive")
    learn_experience(own, STREAM[0], epochs=1)
    with pytest.raises(ConfigError, match="task 0 was learned already"):
        learn_experience(own, STREAM[0], epochs=1)
    with pytest.raises(ConfigError, match="length of training"):
        learn_experience(own, STREAM[1], epochs=0)


def test_a_loss_that_is_not_finite_is_told() -> None:
    with pytest.raises(TrainingError) as caught:
        learn_experience(build("naive", net="mlp", lr=1e38), STREAM[0], epochs=4)
    assert caught.value.hint == "Lower the learning rate or the penalty weight, or check the data."


def test_the_example_of_its_docstring() -> None:
    result = doctest.testmod(loop)
    assert result.attempted == 7
    assert result.failed == 0
