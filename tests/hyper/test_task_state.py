"""A task taken out, stored and put back, or put elsewhere, answers as it did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hypertail.errors import CheckpointError, ConfigError
from hypertail.hyper import PartialHypernetwork, TaskState
from hypertail.nets import decompose
from hypertail.storage.checkpoint import load_checkpoint, save_checkpoint
from support.asserts import assert_same_tensors, state_of
from support.tiny import backbone, hypernetwork


def images() -> Tensor:
    return torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1


def net(tasks: int = 3, *, adapter_rank: int = 2, seed: int = 0) -> PartialHypernetwork:
    """A network of tasks with adapters, rows and statistics of their own."""
    trunk, tail = decompose(backbone("cnn", 3), 2)
    result = PartialHypernetwork(trunk.eval(), tail, hypernetwork(tail, 1, adapter_rank=adapter_rank))
    for task in range(tasks):
        random = torch.Generator().manual_seed(100 * seed + task)
        result.begin_task(task, 3 - task % 2, f"task {task}" if task != 1 else None)
        result.hyper.begin_task(task, "fresh", random)
        with torch.no_grad():
            for parameter in result.hyper.groups(task)["task"].values():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=random))
        result.logits(result.weights(task), result.trunk(images() + task), task, training=True)
    return result


@torch.no_grad()
def answers(own: PartialHypernetwork) -> dict[str, Tensor]:
    return {str(task): own(images(), task).clone() for task in own.classes}


@pytest.mark.parametrize("task", [0, 1, 2])
def test_taken_out_stored_and_put_back_it_answers_the_same(task: int, tmp_path: Path) -> None:
    own = net()
    before, state = answers(own), own.task_state(task)
    save_checkpoint(tmp_path / "task.safetensors", state.tensors(), {})
    with torch.no_grad():
        for parameter in own.hyper.groups(task)["task"].values():
            parameter.add_(1)
        own.hyper.embedding[task] = 0
    own.logits(own.weights(task), own.trunk(7 * images()), task, training=True)
    assert not torch.equal(answers(own)[str(task)], before[str(task)])
    own.load_task(TaskState.from_tensors(load_checkpoint(tmp_path / "task.safetensors")[0]))
    assert_same_tensors(answers(own), before)
    assert own.roster.names == net().roster.names


def test_put_into_another_network_of_the_same_shared_parts_it_answers_the_same() -> None:
    one, other = net(), net(2, seed=1)
    others = answers(other)
    other.load_task(replace(one.task_state(2), id=7))
    assert_same_tensors(others, {name: value for name, value in answers(other).items() if name != "7"})
    assert torch.equal(answers(other)["7"], answers(one)["2"])
    assert (other.classes[7], other.roster.names[7]) == (3, "task 2")


def test_a_state_is_a_copy_on_both_ways() -> None:
    own = net()
    state = own.task_state(0)
    kept = {name: value.clone() for name, value in state.tensors().items()}
    own.load_task(state)
    with torch.no_grad():
        for parameter in own.hyper.parameters():
            parameter.add_(1)
    own.logits(own.weights(0), own.trunk(images()), 0, training=True)
    assert_same_tensors(kept, state.tensors())


def test_it_holds_every_parameter_that_belongs_to_the_task_and_no_other() -> None:
    own = net()
    held = own.task_state(1).parameters
    of_task = own.hyper.groups(1)["task"]
    assert sum(value.numel() for value in held.values()) == 5 + sum(p.numel() for p in of_task.values())
    assert set(own.task_state(1).statistics) == set(own.statistics[1])


def test_a_task_may_be_named() -> None:
    own = net()
    assert own.task_state("task 2").id == 2
    with pytest.raises(ConfigError, match="unknown task 9"):
        own.task_state(9)


@pytest.mark.parametrize("change", ["missing", "foreign", "shape", "statistics", "classes", "name"])
def test_what_does_not_fit_is_refused_and_changes_nothing(change: str) -> None:
    own = net()
    state = own.task_state(0)
    name = next(name for name in state.parameters if name.startswith("adapters."))
    states = {
        "missing": replace(state, parameters={n: v for n, v in state.parameters.items() if n != name}),
        "foreign": replace(state, parameters={**state.parameters, "rows.other": torch.ones(1)}),
        "shape": replace(state, parameters={**state.parameters, name: torch.ones(1)}),
        "statistics": replace(state, statistics={}),
        "classes": replace(state, classes=9),
        "name": replace(state, name="task 2"),
    }
    before, roster = state_of(own), own.roster.state()
    with pytest.raises(ConfigError if change in ("classes", "name") else CheckpointError):
        own.load_task(states[change])
    assert_same_tensors(before, own.state_dict())
    assert_same_tensors(roster, own.roster.state())


@pytest.mark.parametrize("value", [None, torch.ones(2, dtype=torch.long), torch.tensor(1.5)])
def test_tensors_without_an_id_are_refused(value: Tensor | None) -> None:
    tensors = {name: tensor for name, tensor in net().task_state(0).tensors().items() if name != "id"}
    if value is not None:
        tensors["id"] = value
    with pytest.raises(CheckpointError, match="'id' of a saved task: required one whole number"):
        TaskState.from_tensors(tensors)
