from __future__ import annotations

from collections import Counter

import pytest
import torch

from hypertail.strategies.parts.buffer import BufferPolicy, ReplayBuffer
from support.asserts import assert_same_tensors, state_of

POLICIES: tuple[BufferPolicy, ...] = ("class-balanced", "reservoir")


def offer(buffer: ReplayBuffer, task: int, labels: torch.Tensor, seed: int = 0) -> None:
    """Inputs that tell their own task and position."""
    inputs = torch.stack((torch.full_like(labels, task), torch.arange(len(labels))), dim=1).float()
    buffer.add(inputs, labels, task, torch.Generator().manual_seed(100 * seed + task))


def filled(capacity: int, policy: BufferPolicy, tasks: int, classes: int = 3, per_class: int = 20) -> ReplayBuffer:
    buffer = ReplayBuffer(capacity, policy)
    for task in range(tasks):
        offer(buffer, task, torch.arange(classes).repeat_interleave(per_class))
    return buffer


def counts(buffer: ReplayBuffer) -> Counter[tuple[int, int]]:
    return Counter(zip(buffer.tasks.tolist(), buffer.labels.tolist(), strict=True))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("capacity", [1, 7, 20, 1000])
def test_capacity_is_used_but_never_exceeded(capacity: int, policy: BufferPolicy) -> None:
    buffer = ReplayBuffer(capacity, policy)
    for task in range(4):
        offer(buffer, task, torch.arange(3).repeat_interleave(20))
        assert len(buffer) == min(capacity, 60 * (task + 1))
        assert len(buffer) == len(buffer.inputs) == len(buffer.labels) == len(buffer.tasks)


@pytest.mark.parametrize("capacity", [9, 10, 20, 31])
@pytest.mark.parametrize("tasks", [1, 2, 3])
def test_class_balanced_within_one_over_task_and_class(capacity: int, tasks: int) -> None:
    kept = counts(filled(capacity, "class-balanced", tasks))
    assert len(kept) == 3 * tasks
    assert max(kept.values()) - min(kept.values()) <= 1


def test_equal_labels_of_different_tasks_are_different_classes() -> None:
    buffer = ReplayBuffer(8, "class-balanced")
    offer(buffer, 0, torch.zeros(50, dtype=torch.long))
    offer(buffer, 1, torch.zeros(10, dtype=torch.long))
    assert counts(buffer) == {(0, 0): 4, (1, 0): 4}


@pytest.mark.parametrize("policy", POLICIES)
def test_exemplars_keep_their_label_and_task(policy: BufferPolicy) -> None:
    buffer = filled(25, policy, 3)
    assert torch.equal(buffer.inputs[:, 0].long(), buffer.tasks)
    assert torch.equal(buffer.inputs[:, 1].long() // 20, buffer.labels)
    assert len({tuple(row) for row in buffer.inputs.tolist()}) == 25


def test_reservoir_is_uniform_over_everything_seen() -> None:
    """300 draws of 10 from 60: each exemplar is kept 50 times on average, standard deviation 6.5."""
    kept: Counter[tuple[int, int]] = Counter()
    for seed in range(300):
        buffer = ReplayBuffer(10, "reservoir")
        for task in range(3):
            offer(buffer, task, torch.zeros(20, dtype=torch.long), seed)
        kept.update(tuple(map(int, row)) for row in buffer.inputs.tolist())
    everything = [kept[task, number] for task in range(3) for number in range(20)]
    assert sum(everything) == 3000
    assert min(everything) > 50 - 4 * 6.5
    assert max(everything) < 50 + 4 * 6.5
    for task in range(3):
        assert abs(sum(everything[20 * task : 20 * task + 20]) - 1000) < 4 * 25


def test_the_last_of_few_is_kept_as_often_as_the_first() -> None:
    """One place: the second of two is kept half of the time, the third of three in one of three."""
    for offered in (2, 3):
        last = 0
        for seed in range(900):
            buffer = ReplayBuffer(1, "reservoir")
            offer(buffer, 0, torch.zeros(offered, dtype=torch.long), seed)
            last += int(buffer.inputs[0, 1]) == offered - 1
        # the standard deviation is at most 15
        assert abs(last - 900 / offered) < 60


@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_generator_chooses_the_same(policy: BufferPolicy) -> None:
    assert_same_tensors(filled(10, policy, 3).state_dict(), filled(10, policy, 3).state_dict())


def test_samples_do_not_repeat_within_a_batch_and_reach_everything() -> None:
    buffer, random = filled(12, "class-balanced", 2), torch.Generator().manual_seed(0)
    inputs, labels, tasks = buffer.sample(5, random)
    assert len({tuple(row) for row in inputs.tolist()}) == 5
    assert torch.equal(inputs[:, 0].long(), tasks)
    assert torch.equal(inputs[:, 1].long() // 20, labels)
    everything, _, _ = buffer.sample(50, random)
    assert len(everything) == 12


@pytest.mark.parametrize("policy", POLICIES)
def test_a_restored_buffer_goes_on_as_the_original(policy: BufferPolicy) -> None:
    original, restored = filled(10, policy, 2), ReplayBuffer(10, policy)
    restored.load_state_dict(state_of(original))
    for buffer in (original, restored):
        offer(buffer, 2, torch.arange(3).repeat_interleave(20))
    assert_same_tensors(original.state_dict(), restored.state_dict())
