from __future__ import annotations

import gc
import weakref
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from hypertail.errors import CheckpointError, ConfigError
from hypertail.hyper import ChannelHead, Curvature, Hypernetwork, PartialHypernetwork
from hypertail.nets import decompose
from hypertail.strategies import Lesson, Optimisation, Pace, PartialHypernet, Strategy, Task, Trunk
from hypertail.strategies.hypernet_lesson import HypernetLesson
from hypertail.strategies.partial_hypernet import ChannelVectors
from support.asserts import assert_same_tensors
from support.tiny import backbone, build, hypernetwork, tiny_stream, train

STREAM = tiny_stream(3)


def hypernet(**options: Any) -> PartialHypernet:
    strategy = build("hn", **options)
    assert isinstance(strategy, PartialHypernet)
    return strategy


def rows(strategy: PartialHypernet, task: int) -> dict[str, Tensor]:
    tables = strategy.hyper.task_tables()
    return {name: table.rows[task].detach().clone() for name, table in tables.items()}


def begin_second(strategy: PartialHypernet) -> tuple[Lesson, Tensor, Tensor]:
    """Learn e_1, begin e_2; the lesson, its inputs and labels."""
    train(strategy, STREAM.first(1), epochs=1)
    images = STREAM[1].test_transform(STREAM[1].train.images, torch.Generator())
    inputs = images if strategy.frozen_trunk is None else strategy.frozen_trunk(images)
    lesson = strategy.begin(Task(1, 2, 4, lambda: (inputs, STREAM[1].train.labels)))
    return lesson, inputs, STREAM[1].train.labels


@pytest.mark.parametrize("options", [{}, {"lookahead": "second"}, {"output_weight": 1.0}], ids=str)
def test_rows_of_learned_tasks_never_move_with_fresh_optimizer_state(options: dict[str, Any]) -> None:
    strategy = hypernet(**options)
    train(strategy, STREAM.first(1), epochs=1)
    first = rows(strategy, 0)
    whole = hypernet(**options)
    train(whole, STREAM, epochs=1)
    assert_same_tensors(first, rows(whole, 0))


@pytest.mark.parametrize("state", ["fresh", "kept"])
def test_adapters_of_learned_tasks_never_move(state: Literal["fresh", "kept"]) -> None:
    first, whole = (hypernet(adapter_rank=2, state=state, depth=1) for _ in range(2))
    train(first, STREAM.first(1), epochs=1)
    train(whole, STREAM, epochs=1)
    assert first.hyper.task_adapters()
    for name, before in first.hyper.task_adapters().items():
        after = whole.hyper.task_adapters()[name]
        assert before.outputs[0].any(), name
        assert torch.equal(before(0), after(0)), name
        assert after.outputs[2].any(), name


def test_statistics_of_learned_tasks_never_move() -> None:
    strategy = hypernet()
    train(strategy, STREAM.first(1), epochs=1)
    whole = hypernet()
    train(whole, STREAM, epochs=1)
    assert_same_tensors(strategy.net.statistics[0], whole.net.statistics[0])
    assert whole.net.statistics[2]


def test_kept_momentum_moves_the_rows_of_learned_tasks() -> None:
    """The reason why the penalty then includes them."""
    strategy = hypernet(state="kept")
    lesson, inputs, labels = begin_second(strategy)
    before = rows(strategy, 0)
    lesson.step(inputs, labels)
    lesson.step(inputs, labels)
    assert any(not torch.equal(before[name], row) for name, row in rows(strategy, 0).items())


@pytest.mark.parametrize("state", ["fresh", "kept"])
@pytest.mark.parametrize("virtual_step", ["sgd", "optimizer"])
def test_both_virtual_steps_work_with_both_optimizer_states(state: str, virtual_step: str) -> None:
    result = train(hypernet(state=state, virtual_step=virtual_step), STREAM, epochs=1)
    assert result.accuracy[-1].isfinite().all()


def test_the_closed_penalty_learns_what_the_direct_one_learns() -> None:
    runs = [hypernet(net="mlp", penalty_form=form, lr=1e-3) for form in ("closed", "direct")]
    for strategy in runs:
        train(strategy, STREAM, epochs=1)
    for task in range(3):
        a, b = (strategy.net.weights(task) for strategy in runs)
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=1e-2, atol=2e-4)


def test_one_weight_set_per_sample_learns_what_one_per_task_learns() -> None:
    stream = tiny_stream(2, per_class=6, size=16)
    runs = []
    for per_sample in (False, True):
        strategy = hypernet(net="instance", depth=3, per_sample=per_sample, lr=1e-4, tasks=2)
        result = train(strategy, stream, epochs=1)
        images = stream[0].test_transform(stream[0].test.images, torch.Generator())
        assert strategy.frozen_trunk is not None
        with torch.no_grad():
            logits = strategy.predict(strategy.frozen_trunk(images), 0)
        runs.append((torch.tensor(result.losses), logits))
    torch.testing.assert_close(runs[0][0], runs[1][0], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(runs[0][1], runs[1][1], rtol=2e-2, atol=2e-2)


def drift(strategy: PartialHypernet, steps: int = 12) -> float:
    """How far the weights generated for the first task move while the second is learned."""
    lesson, inputs, labels = begin_second(strategy)
    before = {name: weight.detach().clone() for name, weight in strategy.net.weights(0).items()}
    for _ in range(steps):
        lesson.step(inputs, labels)
    after = strategy.net.weights(0)
    return sum(float((after[name].detach() - before[name]).square().sum()) for name in before)


@pytest.mark.parametrize("lookahead", ["none", "first", "second"])
def test_the_penalty_holds_old_weights_in_place(lookahead: str) -> None:
    options: dict[str, Any] = {"net": "mlp", "lookahead": lookahead, "lr": 3e-3, "schedule": "constant"}
    assert drift(hypernet(penalty_weight=100.0, **options)) < 0.2 * drift(hypernet(penalty_weight=0.0, **options))


def test_output_regularisation_holds_old_logits_in_place() -> None:
    moved = []
    for weight in (0.0, 100.0):
        strategy = hypernet(net="mlp", penalty_weight=0.0, output_weight=weight, lr=3e-3, schedule="constant")
        lesson, inputs, labels = begin_second(strategy)
        with torch.no_grad():
            before = strategy.predict(inputs, 0)
        for _ in range(12):
            lesson.step(inputs, labels)
        with torch.no_grad():
            moved.append(float((strategy.predict(inputs, 0) - before).square().mean()))
    assert moved[1] < 0.2 * moved[0]


def accuracy_lost(strategy: Strategy) -> float:
    stream = tiny_stream(2, 4, per_class=8, seed=3)
    accuracy = train(strategy, stream, epochs=25, batch_size=16).accuracy
    assert float(accuracy[0, 0]) > 0.9, "the first task was not learned"
    return float(accuracy[0, 0] - accuracy[1, 0])


def test_naive_forgets_and_a_hypernetwork_does_not() -> None:
    assert accuracy_lost(build("naive", net="mlp", classes=4, lr=3e-2)) > 0.2
    options: dict[str, Any] = {"net": "mlp", "depth": 0, "classes": 4, "tasks": 2}
    assert accuracy_lost(build("hn", penalty_weight=0.0, **options)) > 0.2
    assert accuracy_lost(build("hn", penalty_weight=100.0, **options)) <= 0.02


def test_cosines_between_the_gradients_are_recorded_on_request() -> None:
    strategy = hypernet(record_cosine=True)
    train(strategy, STREAM, epochs=1)
    cosines = strategy.diagnostics()["cosine"]
    assert len(cosines) == 2 * 3  # three steps in each experience but the first
    assert all(-1.001 <= cosine <= 1.001 for cosine in cosines)
    assert hypernet().diagnostics() == {}


@pytest.mark.parametrize("options", [{}, {"output_weight": 1.0}, {"curvature": "new"}], ids=str)
def test_nothing_of_an_experience_is_held_after_it(options: dict[str, Any]) -> None:
    """No snapshot outlives its experience: what is kept is the state alone."""
    if options:
        options = {key: Curvature() if value == "new" else value for key, value in options.items()}
    strategy = hypernet(**options)
    lesson, inputs, labels = begin_second(strategy)
    lesson.step(inputs, labels)
    lesson.end()
    ended = weakref.ref(lesson)
    del lesson
    gc.collect()
    assert ended() is None
    assert [part for part in strategy.modules() if isinstance(part, Hypernetwork)] == [strategy.hyper]


def test_tasks_beyond_the_planned_number_grow_the_hypernetwork() -> None:
    strategy = hypernet(tasks=1)
    result = train(strategy, STREAM, epochs=1)
    assert strategy.hyper.tasks == 3
    assert result.accuracy[-1].isfinite().all()


@pytest.mark.parametrize("vectors", ["learned", "fixed"])
def test_channel_vectors_move_after_the_first_experience_only_if_learned(vectors: ChannelVectors) -> None:
    def tables(strategy: PartialHypernet) -> dict[str, Tensor]:
        heads = strategy.hyper.separable_heads()
        return {name: head.table.detach().clone() for name, head in heads.items() if isinstance(head, ChannelHead)}

    def trained(experiences: int) -> dict[str, Tensor]:
        strategy = hypernet(channel_vectors=vectors)
        train(strategy, STREAM.first(experiences), epochs=1)
        return tables(strategy)

    first, whole, fresh = trained(1), trained(3), tables(hypernet())
    assert first
    assert not any(torch.equal(first[name], fresh[name]) for name in first)  # e_1 teaches them in any case
    assert all(torch.equal(first[name], whole[name]) for name in first) is (vectors == "fixed")


def test_a_step_without_look_ahead_descends_the_sum_of_all_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    """One backward pass gives the gradient of the two that `record_cosine` needs."""
    taken: list[dict[str, Tensor]] = []
    for cosine in (False, True):
        strategy = hypernet(lookahead="none", output_weight=1.0, record_cosine=cosine)
        lesson, inputs, labels = begin_second(strategy)
        with torch.no_grad():  # away from the snapshot, where the penalty has no slope
            for parameter in strategy.hyper.parameters():
                parameter.mul_(1.1)
        assert isinstance(lesson, HypernetLesson)
        monkeypatch.setattr(lesson.descent, "step", taken.append)
        lesson.step(inputs, labels)
        assert bool(strategy.diagnostics()) is cosine
    one, two = taken
    for name, gradient in two.items():
        torch.testing.assert_close(one.get(name, torch.zeros_like(gradient)), gradient, rtol=1e-4, atol=1e-6)
    assert any(gradient.abs().max() > 1e-3 for gradient in two.values())


def test_a_state_without_curvature_is_refused() -> None:
    """case 35: a KeyError."""
    with pytest.raises(CheckpointError) as caught:
        hypernet(curvature=Curvature()).load_state(hypernet().state())
    assert str(caught.value) == (
        "saved strategy without curvature: required the factors of its tasks; found none. "
        "Build the strategy with curvature=None, as the saved one, or use a file that was not changed."
    )


def test_a_copied_embedding_is_that_of_the_task_before() -> None:
    strategy = hypernet(new_embedding="copied")
    train(strategy, STREAM.first(2), epochs=1)
    first, second = strategy.hyper.embedding[:2].detach().clone()
    strategy.begin(Task(2, 2, 4, lambda: (torch.empty(0), torch.empty(0))))
    assert torch.equal(strategy.hyper.embedding[2], second)
    assert not torch.equal(first, second)


class Drawing(Curvature):
    """Writes down what the generators of tasks draw."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: dict[int, list[float]] = {}

    def update(
        self,
        net: PartialHypernetwork,
        task: int,
        features: Tensor,
        generator: torch.Generator,
        *,
        chunk: int = 250,
    ) -> None:
        self.drawn[task] = torch.rand(4, generator=generator).tolist()


def test_directions_of_the_curvature_follow_from_seed_and_task() -> None:
    own = [Drawing() for _ in range(3)]
    for curvature, seed in zip(own, (0, 0, 1), strict=True):
        train(hypernet(curvature=curvature, seed=seed), STREAM, epochs=1)
    one, again, other = (curvature.drawn for curvature in own)
    assert one == again
    assert len({tuple(numbers) for numbers in (*one.values(), *other.values())}) == 2 * len(STREAM)


def test_unknown_channel_vectors() -> None:
    with pytest.raises(
        ConfigError,
        match=r"unknown channel vectors 'fix': required one of .*; found 'fix'\. Did you mean 'fixed'\?",
    ):
        hypernet(channel_vectors="fix")


def test_one_weight_set_per_sample_needs_a_tail_without_statistics() -> None:
    trunk, tail = decompose(backbone("resnet"), 2)
    with pytest.raises(ConfigError) as caught:
        PartialHypernet(
            Trunk(trunk, learns=True),
            tail,
            hypernetwork(tail),
            Optimisation(),
            penalty_weight=0.5,
            output=None,
            curvature=None,
            pace=Pace(),
            per_sample=True,
        )
    assert str(caught.value) == (
        "one weight set per sample: required a tail without normalisation statistics (norm 'instance'); "
        "found a tail with batch normalisation. "
        "Build the model with norm='instance', or generate weights once per batch."
    )


def test_predicting_an_unknown_task() -> None:
    strategy = hypernet()
    train(strategy, STREAM.first(1), epochs=1)
    with pytest.raises(ConfigError, match="unknown task 2: required one of the 1 tasks learned"):
        strategy.predict(torch.zeros(1, 6, 2, 2), 2)
