from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from hypertail.nets import BufferDict, BuffersOfTasks, count_parameters, nbytes
from hypertail.nets.tensors import all_finite
from support.asserts import assert_same_tensors


class Holder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.named, self.of_tasks = BufferDict({"a.b": torch.ones(2)}), BuffersOfTasks()


def test_tensors_move_with_their_module_and_are_in_its_state() -> None:
    holder = Holder()
    holder.of_tasks[3] = {"x.y": torch.zeros(1)}
    assert set(holder.state_dict()) == {"named.a.b", "of_tasks.3.x.y"}
    holder.double()
    assert {value.dtype for value in holder.state_dict().values()} == {torch.float64}
    assert_same_tensors(copy.deepcopy(holder).state_dict(), holder.state_dict())


def test_loading_takes_other_names_as_copies() -> None:
    saved, holder = Holder(), Holder()
    saved.named["c"] = torch.arange(3)
    del saved.named["a.b"]
    state = saved.state_dict()
    holder.load_state_dict(state)
    assert list(holder.named) == ["c"]
    holder.named["c"] += 1
    assert torch.equal(state["named.c"], torch.arange(3))


def test_tasks_are_found_by_their_numbers() -> None:
    of_tasks = BuffersOfTasks()
    of_tasks[5], of_tasks[1] = {"x": torch.zeros(1)}, {}
    assert (list(of_tasks), len(of_tasks), 5 in of_tasks, 2 in of_tasks) == ([5, 1], 2, True, False)
    assert list(of_tasks[5]) == ["x"]
    of_tasks.clear()
    assert not len(of_tasks)


def test_a_dict_of_buffers_equals_itself_alone() -> None:
    assert BufferDict() != BufferDict()
    assert len({BufferDict(), BufferDict()}) == 2


def test_bytes_and_parameters_are_counted() -> None:
    assert nbytes([torch.zeros(3), torch.zeros(2, dtype=torch.float64)]) == 28
    assert count_parameters(nn.Linear(3, 2)) == 8


def test_what_is_loaded_lies_in_memory_as_what_was_there() -> None:
    """A resumed run summed over another layout, and ended with other bits."""
    values = torch.arange(2 * 3 * 2 * 2.0).view(2, 3, 2, 2)
    there = BufferDict({"a.b": torch.zeros_like(values).to(memory_format=torch.channels_last)})
    there.load_state_dict({"a.b": values, "new": values})
    assert torch.equal(there["a.b"], values)
    assert there["a.b"].is_contiguous(memory_format=torch.channels_last)
    assert there["new"].is_contiguous()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_finite_tensors_are_told_at_once(dtype: torch.dtype) -> None:
    many = [torch.randn(3, 2).to(dtype), torch.zeros((), dtype=dtype), torch.empty(0, dtype=torch.float32)]
    assert all_finite(many)
    for bad in (torch.inf, -torch.inf, torch.nan):
        last = torch.ones(4, dtype=dtype)
        last[2] = bad
        assert not all_finite([*many, last])
    assert not all_finite([torch.tensor([torch.inf, -torch.inf], dtype=dtype)])
