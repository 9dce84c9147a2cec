from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hypertail.errors import CheckpointError, ConfigError
from hypertail.hyper import Roster
from hypertail.hyper.roster import ids_in

MEND = "The file was changed after it was written, or belongs to another strategy: use one that was not."


def roster() -> Roster:
    own = Roster()
    own.admit(3, 7, "birds")
    own.admit(1, 2)
    own.admit(8, 4, "Bäume")
    return own


def test_ids_classes_and_names_come_back_in_their_order() -> None:
    """case 29: ids 3 and 1 came back as 0 and 1."""
    other = Roster()
    other.load_state(roster().state(), "head", holds=[1, 3, 8])
    assert list(other.classes.items()) == [(3, 7), (1, 2), (8, 4)]
    assert other.names == {3: "birds", 8: "Bäume"}


def test_states_without_ids_hold_the_first_tasks() -> None:
    """case 29: checkpoints written before ids were saved."""
    other = Roster()
    other.load_state({"classes": torch.tensor([2, 5])}, "tail", holds=[0, 1])
    assert other.classes == {0: 2, 1: 5}
    other.load_state({}, "head", widths={1: 4, 0: 3})
    assert other.classes == {0: 3, 1: 4}


@pytest.mark.parametrize(
    ("state", "holds", "message"),
    [
        ({}, [3, 8], "task 1 of the checkpoint: required the tail of every task: 3, 1, 8; found no tail of it. "),
        (
            {},
            [3, 1, 8, 5],
            "task 5 of the checkpoint: required the tail of these tasks alone: 3, 1, 8; found one of it too. ",
        ),
        (
            {"tasks": torch.tensor([3, 1])},
            [3, 1],
            "tasks of the checkpoint: required 3 different ids for 3 class counts; found ids [3, 1]. ",
        ),
        (
            {"tasks": torch.tensor([3, 1, 1])},
            [3, 1],
            "tasks of the checkpoint: required 3 different ids for 3 class counts; found ids [3, 1, 1]. ",
        ),
    ],
)
def test_states_that_were_changed_by_hand_are_refused(state: dict[str, Tensor], holds: list[int], message: str) -> None:
    """case 35: every other task answered as its neighbour."""
    own = Roster()
    with pytest.raises(CheckpointError) as caught:
        own.load_state(roster().state() | state, "tail", holds=holds)
    assert str(caught.value) == message + MEND
    assert own.classes == {}


def test_a_head_of_another_width_is_refused() -> None:
    """case 35."""
    with pytest.raises(CheckpointError) as caught:
        Roster().load_state(roster().state(), "head", widths={3: 7, 1: 3, 8: 4})
    assert str(caught.value) == "task 1 of the checkpoint: required a head of 2 classes; found one of 3. " + MEND


@pytest.mark.parametrize("classes", [7, 1])
def test_a_task_is_learned_once(classes: int) -> None:
    """case 36."""
    own = roster()
    with pytest.raises(ConfigError) as caught:
        own.admit(3, classes)
    assert str(caught.value) == (
        f"task 3 was learned already: required an id other than 3, 1, 8; found {classes} classes for task 3, which has "
        "learned 7. A task is learned once: learning more images into it would ruin what it knows; learn the new "
        "images as a task of its own."
    )
    assert own.classes == roster().classes


def test_two_tasks_may_not_have_one_name() -> None:
    """case 35."""
    own = roster()
    with pytest.raises(ConfigError) as caught:
        own.admit(4, 2, "birds")
    assert str(caught.value) == (
        "task name 'birds': required a name that no other task has; found the name of task 3. "
        "Give the new task another name."
    )
    assert 4 not in own.classes


@pytest.mark.parametrize(("task", "classes"), [(-1, 2), (0, 0)])
def test_ids_and_classes_out_of_range(task: int, classes: int) -> None:
    """case 29."""
    with pytest.raises(ConfigError) as caught:
        Roster().admit(task, classes)
    assert str(caught.value) == (
        f"task {task}: required an id of at least 0 and at least 1 class; found id {task} with {classes} classes. "
        "Number tasks from 0."
    )


def test_unknown_task() -> None:
    with pytest.raises(ConfigError, match="unknown task 0: required one of the 3 tasks learned; found 0"):
        roster().check(0)


def test_ids_are_read_from_names() -> None:
    names = ("heads.3.weight", "heads.3.bias", "heads.1.weight", "heads.x", "header.2.weight", "heads.10")
    assert ids_in(dict.fromkeys(names, torch.zeros(())), "heads") == [3, 1, 10]
