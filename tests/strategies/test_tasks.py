"""Tasks are found by their ids, learned once, and never mistaken for one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from hypertail.errors import CheckpointError, ConfigError
from hypertail.hyper import Curvature
from hypertail.strategies import PartialHypernet, Rotations, Strategy, Task
from hypertail.strategies.parts.multihead import MultiHead
from support.asserts import assert_same_tensors
from support.tiny import Name, backbone, build, tiny_stream

CLASSES = {0: 2, 1: 3, 2: 2, 3: 3}
STREAM = tiny_stream(4, tuple(CLASSES.values()), per_class=4)
NAMES: tuple[Name, ...] = ("naive", "ewc", "lwf", "lr", "hn", "adapter", "lda", "separate", "joint")
each_strategy = pytest.mark.parametrize("name", NAMES)
OWN = {
    "naive": "head",
    "ewc": "head",
    "lwf": "head",
    "lr": "head",
    "joint": "head",
    "hn": "statistics",
    "separate": "tail",
}
OWN |= {"adapter": "adapters", "lda": "moments"}
PREFIX = {
    **{"naive": "model.heads", "ewc": "naive.model.heads", "joint": "naive.model.heads", "lr": "tail.heads"},
    **{"lwf": "tail.heads"},
    **{"hn": "net.statistics", "separate": "tails", "adapter": "tails", "lda": "moments"},
}


def built(name: Name) -> Strategy:
    options: dict[str, Any] = {"curvature": Curvature()} if name == "hn" else {}
    return build(name, classes=3, **options)


def data(strategy: Strategy, task: int) -> tuple[Tensor, Tensor]:
    images = STREAM[task].test_transform(STREAM[task].train.images, torch.Generator())
    trunk = strategy.frozen_trunk
    return images if trunk is None else trunk(images), STREAM[task].train.labels


def task_of(strategy: Strategy, task: int, /, **changes: Any) -> Task:
    return replace(Task(task, CLASSES[task], 2, lambda: data(strategy, task)), **changes)


def learn(strategy: Strategy, tasks: Sequence[int]) -> Strategy:
    for task in tasks:
        lesson = strategy.begin(task_of(strategy, task))
        for _ in range(2):
            lesson.step(*data(strategy, task))
        lesson.end()
    return strategy


@torch.no_grad()
def logits(strategy: Strategy, task: int) -> Tensor:
    return strategy.predict(data(strategy, task)[0], task)


def copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in state.items()}


@each_strategy
def test_tasks_of_any_ids_in_any_order_come_back_as_they_were(name: Name) -> None:
    """case 29: ids 3 and 1 came back as 0 and 1, with fresh statistics."""
    strategy = learn(built(name), (3, 1))
    restored = built(name)
    restored.load_state(copied(strategy.state()))
    assert strategy.tasks == restored.tasks == (3, 1)
    assert_same_tensors(strategy.state(), restored.state())
    for task in (3, 1):
        assert torch.equal(logits(strategy, task), logits(restored, task))
        assert logits(restored, task).shape[1] == CLASSES[task]
    for unknown in (0, 2, -1):
        with pytest.raises(ConfigError, match=f"unknown task {unknown}: required one of the 2 tasks learned"):
            restored.predict(data(restored, 3)[0], unknown)


@each_strategy
def test_a_strategy_with_any_ids_goes_on_as_if_it_had_never_been_saved(name: Name) -> None:
    """case 29."""
    whole, first, second = built(name), built(name), built(name)
    learn(whole, (3, 1))
    learn(first, (3, 1))
    second.load_state(copied(first.state()))
    learn(whole, (0,))
    learn(second, (0,))
    assert_same_tensors(whole.state(), second.state())


@each_strategy
def test_a_state_without_ids_still_loads(name: Name) -> None:
    """case 29: what earlier versions wrote holds tasks 0 .. n-1."""
    strategy = learn(built(name), (0, 1))
    state = copied(strategy.state())
    del state["tasks"]
    if name not in ("hn", "adapter", "lda", "separate"):
        del state["classes"]
    restored = built(name)
    restored.load_state(state)
    assert restored.tasks == (0, 1)
    for task in (0, 1):
        assert torch.equal(logits(strategy, task), logits(restored, task))


@pytest.mark.parametrize("listed", [True, False], ids=["ids", "no ids"])
@pytest.mark.parametrize("lost", [0, 1])
@each_strategy
def test_a_task_whose_entries_were_deleted_is_missed_by_its_id(name: Name, lost: int, listed: bool) -> None:
    """case 35: every other task answered as its neighbour."""
    state = copied(learn(built(name), (0, 1, 2)).state())
    state = {key: value for key, value in state.items() if not key.startswith(f"{PREFIX[name]}.{lost}.")}
    if not listed:
        state |= {"classes": torch.tensor([CLASSES[task] for task in (0, 1, 2) if task != lost])}
        del state["tasks"]
    with pytest.raises(CheckpointError, match=f"task {lost} of the checkpoint: required the {OWN[name]} of every task"):
        built(name).load_state(state)


@each_strategy
def test_a_task_deleted_from_every_list_leaves_the_others_as_they_were(name: Name) -> None:
    """case 35."""
    strategy = learn(built(name), (0, 1, 2))
    state = copied(strategy.state())
    gone = (f"{PREFIX[name]}.1.", "fisher.heads.1.", "pull.heads.1.")
    state = {key: value for key, value in state.items() if not key.startswith(gone)}
    state |= {"tasks": torch.tensor([0, 2]), "classes": torch.tensor([CLASSES[0], CLASSES[2]])}
    if name == "lr":
        with pytest.raises(CheckpointError, match=r"exemplars of task 1 in the buffer: required .* tasks 0, 2"):
            built(name).load_state(state)
        kept = state["buffer.tasks"] != 1
        state |= {key: state[key][kept] for key in ("buffer.inputs", "buffer.labels", "buffer.tasks")}
    restored = built(name)
    restored.load_state(state)
    for task in (0, 2):
        if name == "lda":  # whose covariance is that of all tasks
            assert logits(restored, task).shape == logits(strategy, task).shape
        else:
            assert torch.equal(logits(strategy, task), logits(restored, task))
    with pytest.raises(ConfigError, match="unknown task 1"):
        restored.predict(data(restored, 0)[0], 1)


@each_strategy
def test_a_tensor_that_is_missing_or_does_not_fit_is_named(name: Name) -> None:
    """case 35: brothers elsewhere in the state ended in a traceback of torch."""
    state = copied(learn(built(name), (0, 1)).state())
    parts = (
        "trunk.",
        "naive.",
        "net.",
        "model.",
        "tail.",
        "tails.",
        "moments.",
        "shared.",
        "buffer.",
        "curvature.averaged",
    )
    keys = [key for key in state if key.startswith(parts)]
    assert len(keys) > 3
    for key in keys:
        for value in (None, state[key].new_zeros((9, *state[key].shape))):
            if value is not None and key.startswith(("buffer.", "curvature.")):
                continue  # which have no shape of their own
            changed = {other: own for other, own in state.items() if other != key}
            if value is not None:
                changed[key] = value
            with pytest.raises(CheckpointError):
                built(name).load_state(changed)


def test_fisher_sums_of_a_parameter_that_is_not_there_are_refused() -> None:
    """case 35: the next experience ended in a KeyError."""
    state = copied(learn(built("ewc"), (0, 1)).state())
    for changed in ({"fisher.body.x": torch.ones(1), "pull.body.x": torch.ones(1)}, {"pull.body.y": torch.ones(1)}):
        with pytest.raises(CheckpointError, match=r"Fisher sums of 'body\.[xy]': required both sums of a parameter"):
            built("ewc").load_state(state | changed)


@pytest.mark.parametrize("restored", [False, True], ids=["same process", "restored"])
@pytest.mark.parametrize("classes", [3, 1], ids=["same classes", "other classes"])
@each_strategy
def test_a_task_is_not_learned_twice(name: Name, classes: int, restored: bool) -> None:
    """case 36: 100 images of a new class, learned into an old task, ruined it and others without a warning."""
    strategy = learn(built(name), (1, 0))
    if restored:
        state = copied(strategy.state())
        strategy = built(name)
        strategy.load_state(state)
    before = copied(strategy.state())
    with pytest.raises(ConfigError) as caught:
        strategy.begin(task_of(strategy, 1, classes=classes))
    assert str(caught.value) == (
        f"task 1 was learned already: required an id other than 1, 0; found {classes} classes for task 1, which has "
        "learned 3. A task is learned once: learning more images into it would ruin what it knows; learn the new "
        "images as a task of its own."
    )
    assert_same_tensors(before, strategy.state())
    learn(strategy, (2,))
    assert strategy.tasks == (1, 0, 2)


@each_strategy
def test_a_negative_id_is_refused_before_anything_is_learned(name: Name) -> None:
    """case 29."""
    strategy = built(name)
    before = copied(strategy.state())
    with pytest.raises(ConfigError, match="task -1: required an id of at least 0"):
        strategy.begin(task_of(strategy, 0, id=-1))
    assert_same_tensors(before, strategy.state())


def test_an_id_that_would_make_a_huge_hypernetwork_is_refused() -> None:
    """case 29: a row for every id up to the highest."""
    strategy = built("hn")
    assert isinstance(strategy, PartialHypernet)
    with pytest.raises(ConfigError) as caught:
        strategy.begin(task_of(strategy, 0, id=20_240_101))
    assert str(caught.value) == (
        "task id 20240101: required an id below 10000: there is a row of the hypernetwork for each id up to the "
        "highest; found 20240101. Number tasks from 0."
    )
    assert strategy.hyper.tasks == 3


@pytest.mark.parametrize("name", [name for name in NAMES if name != "hn"])
def test_names_are_kept_and_belong_to_one_task(name: Name) -> None:
    """cases 29 and 35."""
    strategy = built(name)
    strategy.begin(task_of(strategy, 3, name="Vögel"))
    strategy.begin(task_of(strategy, 1))
    with pytest.raises(ConfigError, match="task name 'Vögel': required a name that no other task has"):
        strategy.begin(task_of(strategy, 2, name="Vögel"))
    restored = built(name)
    restored.load_state(copied(strategy.state()))
    assert restored.roster.names == {3: "Vögel"}


def test_names_of_a_partial_hypernetwork_are_kept() -> None:
    """cases 29 and 35."""
    strategy, restored = built("hn"), built("hn")
    assert isinstance(strategy, PartialHypernet)
    assert isinstance(restored, PartialHypernet)
    learn(strategy, (0,))
    strategy.net.begin_task(3, 2, "Vögel")
    restored.load_state(copied(strategy.state()))
    assert restored.net.roster.names == {3: "Vögel"}


def test_restoring_into_a_strategy_that_has_learned_replaces_what_it_learned() -> None:
    """case 29."""
    for name in NAMES:
        strategy = learn(built(name), (0,))
        state, first = copied(strategy.state()), logits(strategy, 0)
        if name != "hn":  # whose rows do not shrink
            learn(strategy, (1,))
        else:
            learn(strategy, (2,))
        strategy.load_state(state)
        assert strategy.tasks == (0,)
        assert torch.equal(logits(strategy, 0), first)


def test_a_strategy_around_another_has_its_tasks() -> None:
    """case 29."""
    assert learn(Rotations(built("naive")), (3, 1)).tasks == (3, 1)


def test_heads_count_on_without_ids_and_are_not_replaced() -> None:
    """case 29."""
    model = MultiHead(backbone("mlp"), 0)
    model.add_task(2)
    model.add_task(3, 4)
    model.add_task(2)
    assert model.widths == {0: 2, 4: 3, 5: 2}
    with pytest.raises(ConfigError) as caught:
        model.add_task(2, 4)
    assert str(caught.value) == (
        "head of task 4: required a task without one; found a head of 3 classes. Learn new images as a task of its own."
    )
    other = MultiHead(backbone("mlp"), 1)
    other.make_heads(model.state_dict(), model.widths)
    other.load_state_dict(model.state_dict())
    assert other.widths == model.widths
    assert_same_tensors(model.state_dict(), other.state_dict())


@pytest.mark.parametrize("name", ["naive", "ewc", "lwf", "lr", "separate", "hn"])
def test_tasks_are_found_by_name(name: str) -> None:
    """Cases 29 and 35: tasks are known by id or name, and both survive a checkpoint."""
    strategy = build(name, net="cnn", depth=2)
    for task, called in ((5, "bakery"), (2, "pharmacy")):
        inputs = torch.zeros(4, 3, 8, 8)
        strategy.begin(Task(task, 2, 1, lambda: (inputs, torch.tensor([0, 1, 0, 1])), called))  # noqa: B023
    assert (strategy.id_of("bakery"), strategy.id_of("pharmacy")) == (5, 2)
    with pytest.raises(ConfigError, match=r"unknown task 'bakry'.*Did you mean 'bakery'"):
        strategy.id_of("bakry")


def test_a_hypernetwork_serves_by_name() -> None:
    strategy = build("hn", net="cnn", depth=2)
    assert isinstance(strategy, PartialHypernet)
    strategy.begin(Task(3, 2, 1, lambda: (torch.zeros(2, 3, 8, 8), torch.tensor([0, 1])), "bakery"))
    images = torch.zeros(2, 3, 8, 8)
    assert torch.equal(strategy.net(images, "bakery"), strategy.net(images, 3))
    assert torch.equal(strategy.net.materialize("bakery")(images), strategy.net.materialize(3)(images))


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("separate", ("trunk.",)),
        ("adapter", ()),
        ("hn", ("trunk.", "tables.", "heads.", "mlp.", "embedding")),
        ("ewc", ("body.",)),
    ],
)
def test_kept_moments_are_those_of_what_learns_again(name: Name, kept: tuple[str, ...]) -> None:
    """Those of every finished task were kept for ever."""
    strategy = learn(build(name, classes=3, state="kept", **({"adapter_rank": 1} if name == "hn" else {})), (0, 1, 2))
    of_adam = [key.partition("moments.")[2] for key in strategy.state_dict() if "moments." in key]
    assert {key for key in of_adam if not key.startswith(kept)} == set()
    assert all(any(key.startswith(prefix) for key in of_adam) for prefix in kept)
