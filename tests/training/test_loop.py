"""Learning experiences one by one, without a stream."""

from __future__ import annotations

import doctest

import pytest
import torch
from torch import Tensor

from hypertail.errors import ConfigError, TrainingError
from hypertail.nets import decompose
from hypertail.strategies import Naive, Optimisation, PartialHypernet, Task, tuned_hypernet
from hypertail.strategies.naive import NaiveLesson
from hypertail.training import Trainer, learn_experience, loop
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
