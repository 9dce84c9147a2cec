"""Output regularisation: its value and slope against a slow twin, and what it draws."""

from __future__ import annotations

import copy
from collections import Counter, OrderedDict

import pytest
import torch
from torch import Tensor, nn

from hypertail.hyper import OutputPenalty, PartialHypernetwork
from support.asserts import assert_same_tensors
from support.tiny import hypernetwork

CLASSES = (3, 2, 3)


def random_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def net() -> PartialHypernetwork:
    """In float64; the running statistics of a task are those of no batch."""
    layers = OrderedDict(
        conv=nn.Conv2d(2, 3, 3, padding=1),
        norm=nn.BatchNorm2d(3),
        tanh=nn.Tanh(),
        flatten=nn.Flatten(),
        head=nn.Linear(12, max(CLASSES)),
    )
    tail = nn.Sequential(layers).double()
    own = PartialHypernetwork(nn.Sequential(), tail, hypernetwork(tail, tasks=len(CLASSES), adapter_rank=1).double())
    for task, count in enumerate(CLASSES):
        own.begin_task(task, count)
        own.hyper.begin_task(task, "fresh", random_of(task))
        own.statistics[task]["norm.running_mean"].normal_(generator=random_of(10 + task))
    return own


@torch.no_grad()
def moved(own: PartialHypernetwork, along: dict[str, Tensor], far: float) -> PartialHypernetwork:
    other = copy.deepcopy(own)
    for name, parameter in other.hyper.named_parameters():
        if name in along:
            parameter += far * along[name]
    return other


def directions(own: PartialHypernetwork, seed: int) -> dict[str, Tensor]:
    """Of what tasks share: nothing else of an earlier task learns."""
    random = random_of(seed)
    shared = own.hyper.groups(0)["shared"]
    return {name: torch.randn(value.shape, generator=random, dtype=value.dtype) for name, value in shared.items()}


@torch.no_grad()
def twin(old: PartialHypernetwork, new: PartialHypernetwork, tasks: list[int], z: Tensor, weight: float) -> float:
    """Task by task, example by example and class by class, with plain modules in evaluation mode."""
    total = 0.0
    for task in tasks:
        before, after, squares = old.materialize(task), new.materialize(task), []
        for example in z:
            changes = (after(example[None]) - before(example[None])).squeeze(0).tolist()
            assert len(changes) == CLASSES[task]
            squares += [change**2 for change in changes]
        total += sum(squares) / len(squares)
    return weight * total / len(tasks)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("share", "used"), [(1.0, 6), (0.5, 3), (0.01, 1)])
@pytest.mark.parametrize("drawn", [[0], [1, 0], [2, 0, 1]])
def test_it_is_its_slow_twin(drawn: list[int], share: float, used: int, training: bool) -> None:
    old, z = net(), torch.randn(6, 2, 2, 2, generator=random_of(5), dtype=torch.float64)
    along, further = directions(old, 1), directions(old, 2)
    own = moved(old, along, 0.0)
    penalty = OutputPenalty(0.7, tasks=3, share=share).begin(own, [0, 1, 2])
    statistics = {f"{task}.{name}": x.clone() for task in range(3) for name, x in own.statistics[task].items()}
    leaves = dict(own.hyper.named_parameters())
    with torch.no_grad():
        for name, step in along.items():
            leaves[name] += 0.2 * step
    own.tail.train(training)
    value = penalty(own.hyper.several(drawn), drawn, z)
    expected = twin(old, own, drawn, z[:used], 0.7)
    assert expected > 1e-3
    assert float(value.detach()) == pytest.approx(expected, rel=1e-5)
    slopes = torch.autograd.grad(value, [leaves[name] for name in further], allow_unused=True)
    slope = sum(float((g * step).sum()) for g, step in zip(slopes, further.values(), strict=True) if g is not None)
    ahead, behind = (twin(old, moved(own, further, far), drawn, z[:used], 0.7) for far in (1e-5, -1e-5))
    assert slope == pytest.approx((ahead - behind) / 2e-5, rel=1e-3, abs=1e-5)
    # no statistic has moved, and the tail is in the mode that it was in
    after = {f"{task}.{name}": x for task in range(3) for name, x in own.statistics[task].items()}
    assert_same_tensors(statistics, after)
    assert own.tail.training is training


def test_a_step_draws_different_tasks_and_in_time_all_alike() -> None:
    penalty = OutputPenalty(1.0, tasks=2).begin(net(), [0, 1, 2])
    draws = [penalty.draw(random_of(seed)) for seed in range(300)]
    assert all(len(set(drawn)) == len(drawn) == 2 for drawn in draws)
    assert draws[7] == penalty.draw(random_of(7))
    counts = Counter(task for drawn in draws for task in drawn)
    # each 200 times on average, standard deviation 8
    assert all(abs(counts[task] - 200) < 40 for task in range(3))
    assert sorted(OutputPenalty(1.0, tasks=9).begin(net(), [0, 1, 2]).draw(random_of(0))) == [0, 1, 2]
