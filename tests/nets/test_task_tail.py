"""The tail of a task over a body that all tasks share."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hypertail.hyper.generated import GeneratedWeights, shared_hypernetwork, shared_parameters
from hypertail.nets.compact import flattened, fold_statistics, foldable, halved, round_to_half, unflatten
from hypertail.nets.task_head import TaskHead
from hypertail.nets.task_tail import AdaptedWeights, SharedWeights, StoredWeights, TailWeights, TaskTail, adaptable


def conv_body() -> nn.Sequential:
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Conv2d(4, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=3),
        nn.GroupNorm(2, 6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ).train()  # fmt: skip
    body(torch.randn(32, 4, 6, 6) * 2 + 1)
    return body.eval()


def weights_of(kind: str, body: nn.Module) -> TailWeights:
    random = torch.Generator().manual_seed(1)
    if kind == "shared":
        return SharedWeights()
    if kind == "stored":
        return StoredWeights(body)
    if kind == "adapted":
        return AdaptedWeights(body, 2, random)
    return GeneratedWeights(body, shared_hypernetwork(body, embedding=4, rank=4), 2, random)


KINDS = ("shared", "stored", "adapted", "generated")


@pytest.mark.parametrize("kind", KINDS)
def test_a_tail_begins_as_the_body(kind: str) -> None:
    body, x = conv_body(), torch.randn(5, 4, 6, 6)
    tail = TaskTail(body, weights_of(kind, body), 6, 3)
    assert torch.equal(tail.embedding(x), body(x))
    assert torch.equal(tail(x), torch.zeros(5, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_steps_change_the_task_and_nothing_of_the_body(kind: str) -> None:
    body, x = conv_body(), torch.randn(8, 4, 6, 6)
    before = {name: value.clone() for name, value in body.state_dict().items()}
    tail = TaskTail(body, weights_of(kind, body), 6, 3)
    adam = torch.optim.Adam(tail.parameters(), lr=0.05)
    for _ in range(3):
        tail.train()
        loss = nn.functional.cross_entropy(tail(x), torch.arange(8) % 3)
        adam.zero_grad()
        loss.backward()
        adam.step()
    tail.eval()
    for name, value in body.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not body.training
    assert torch.equal(tail.embedding(x), body(x)) == (kind == "shared" and not tail.own_statistics)
    torch.testing.assert_close(tail.materialize()(x), tail(x))
    assert not any(name.startswith("body") for name in tail.state_dict())


def test_what_an_adapter_may_change() -> None:
    attention = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    assert adaptable(attention) == [
        "self_attn.in_proj_weight", "self_attn.out_proj.weight", "linear1.weight", "linear2.weight"
    ]  # fmt: skip

    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.where = nn.Parameter(torch.zeros(1, 5, 8))
            self.words, self.line = nn.Embedding(5, 8), nn.Conv1d(8, 8, 3, groups=2)

        def forward(self, x: Tensor) -> Tensor:
            return x

    assert adaptable(Positions()) == ["words.weight", "line.weight"]
    weights = AdaptedWeights(Positions(), 2, torch.Generator())
    with torch.no_grad():
        for parameter in weights.parameters():
            parameter.add_(1.0)
    assert {name: tuple(value.shape) for name, value in weights().items()} == {
        "words.weight": (5, 8), "line.weight": (8, 4, 3), "line.bias": (8,)
    }  # fmt: skip


def test_an_adapter_is_the_sum_of_rank_one_changes() -> None:
    """Its slow twin: sum_c U[o, c] T[c, t] A[c, i], position by position."""
    body = conv_body()
    weights = AdaptedWeights(body, 3, torch.Generator().manual_seed(2)).double()
    adapters = weights.adapters["0/weight"]
    with torch.no_grad():
        for parameter in adapters.parameters():
            parameter.normal_()
    factors = {name: value.detach() for name, value in adapters.of_task(0).items()}
    expected = body[0].weight.detach().double().clone()
    for out in range(6):
        for channel in range(4):
            for position in range(9):
                change = sum(
                    float(factors["outputs"][out, c] * factors["filters"][c, position] * factors["inputs"][c, channel])
                    for c in range(3)
                )
                expected[out, channel, position // 3, position % 3] += change
    torch.testing.assert_close(weights()["0.weight"], expected)


def test_a_fixed_hypernetwork_keeps_tasks_apart() -> None:
    body, x = conv_body(), torch.randn(4, 4, 6, 6)
    hyper = shared_hypernetwork(body, embedding=4, rank=4)
    with torch.no_grad():
        for parameter in shared_parameters(hyper).values():
            parameter.normal_(std=0.1)
    tails = [TaskTail(body, GeneratedWeights(body, hyper, 1, torch.Generator().manual_seed(n)), 6, 2) for n in (0, 1)]
    before = tails[0].embedding(x)
    assert not torch.equal(before, tails[1].embedding(x))
    with torch.no_grad():
        for parameter in tails[1].parameters():
            parameter.normal_()
    assert torch.equal(tails[0].embedding(x), before)
    shared = {id(parameter) for parameter in hyper.parameters()}
    assert not shared & {id(parameter) for parameter in tails[0].parameters()}


def test_folded_statistics_give_the_same_function() -> None:
    body, x = conv_body().double(), torch.randn(9, 4, 6, 6, dtype=torch.double)
    tail = TaskTail(body, AdaptedWeights(body, 1, torch.Generator()), 6, 3).double()
    tail.recompute_statistics(torch.randn(40, 4, 6, 6, dtype=torch.double) * 3 - 1)
    before = tail.embedding(x)
    layers = foldable(body, tail.weights.stored())
    assert [layer.mean for layer in layers] == ["1.running_mean"]
    fold_statistics(layers, tail.weights.stored(), tail.statistics)
    torch.testing.assert_close(tail.embedding(x), before)
    assert not tail.statistics["1.running_mean"].any()
    assert foldable(body, {}) == []


def test_half_precision_where_it_fits() -> None:
    assert halved(torch.tensor([1.0, -2.0])).dtype == torch.float16
    assert halved(torch.tensor([1.0, 1e6])).dtype == torch.float32
    assert halved(torch.tensor([1], dtype=torch.long)).dtype == torch.long
    layer = nn.Linear(3, 2)
    round_to_half(layer)
    assert all(torch.equal(value, value.half().float()) for value in layer.parameters())
    other = nn.Linear(3, 2)
    unflatten(flattened(layer), other)
    assert all(torch.equal(a, b) for a, b in zip(layer.parameters(), other.parameters(), strict=True))
    with pytest.raises(ValueError, match="7 numbers for 8"):
        unflatten(torch.zeros(7), other)


def test_a_head_grows_without_touching_earlier_outputs() -> None:
    torch.manual_seed(0)
    head, x = TaskHead(16, 3), torch.randn(7, 16)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_()
    before = head(x)
    block = head.grow(2)
    with torch.no_grad():
        block.weight.normal_()
    assert head.sizes == [3, 2]
    assert head.classes == 5
    assert torch.equal(head(x)[:, :3], before)
    torch.testing.assert_close(head.joined()(x), head(x))
