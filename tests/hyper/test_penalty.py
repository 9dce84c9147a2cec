from __future__ import annotations

import copy
import math
from typing import Literal

import pytest
import torch
from torch import Tensor

from hypertail.hyper import Curvature, Hypernetwork, Penalty, direct_penalty
from hypertail.hyper.heads import CodeName
from hypertail.hyper.snapshot import snapshot_of
from hypertail.nets import decompose
from hypertail.seeds import seeded
from support import reference
from support.asserts import assert_gradients_close, assert_penalty_zero_at_snapshot, assert_same_tensors
from support.tiny import BACKBONES, DEPTHS, backbone, hypernetwork

CODES: tuple[CodeName, ...] = ("additive", "product")
REDUCTIONS: tuple[Literal["sum", "mean"], ...] = ("sum", "mean")
SHAPES = {
    "conv.weight": (3, 2, 2, 2),
    "point.weight": (4, 3, 1, 1),
    "norm.weight": (3,),
    "wide.weight": (5, 4),
    "head.weight": (2, 3),
    "head.bias": (2,),
}
MANY = (1, 12)


def small(tasks: int, code: CodeName) -> Hypernetwork:
    with seeded(0, "small"):
        return Hypernetwork(
            SHAPES, tasks, embedding=3, mlp=(6, 4), rank=3, code=code, classifier="head.weight"
        ).double()


def moved(hyper: Hypernetwork, size: float = 0.3, seed: int = 1) -> Hypernetwork:
    """A copy with every parameter but the task-table rows moved."""
    other, random = copy.deepcopy(hyper), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            step = size * torch.randn(parameter.shape, generator=random, dtype=torch.float64)
            parameter += 0 * step if name.startswith("tables") or not parameter.requires_grad else step
    return other


def value(penalty: Penalty, hyper: Hypernetwork) -> float:
    with torch.no_grad():
        return float(penalty(hyper))


def curvature(kind: str) -> Curvature:
    """Factors for some of the layers, the others going without; the classifier's output factor is not used."""
    random, own = torch.Generator().manual_seed(4), Curvature(damping=0)
    for name in ("conv.weight", "wide.weight", "head.weight"):
        for factors, size in ((own.inputs, SHAPES[name][1]), (own.outputs, SHAPES[name][0])):
            x = torch.randn(9, size, generator=random, dtype=torch.float64)
            factors[name] = x.T @ x / 9
    if kind == "inputs":
        own.outputs.clear()
    if kind == "positions":
        size = math.prod(SHAPES["conv.weight"][2:])
        x = torch.randn(9, size, generator=random, dtype=torch.float64)
        own.positions["conv.weight"] = x.T @ x / 9
    return own


@pytest.mark.parametrize("vectors", ["learned", "fixed"])
@pytest.mark.parametrize("metric", ["norm", "inputs", "both", "positions"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("count", MANY)
def test_closed_form_equals_the_loops(
    count: int, code: CodeName, reduction: Literal["sum", "mean"], metric: str, vectors: str
) -> None:
    old = small(count + 1, code)
    if vectors == "fixed":
        old.fix_channel_vectors()
    new, own = moved(old), None if metric == "norm" else curvature(metric)
    ours = Penalty(old, range(count), reduction=reduction, curvature=own)(new)
    factors = (
        {
            "inputs": own.inputs,
            "outputs": {n: g for n, g in own.outputs.items() if n != "head.weight"},
            "positions": own.positions,
        }
        if own
        else {}
    )
    theirs = reference.penalty(old, new, range(count), reduction=reduction, **factors)
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=0)
    assert_gradients_close(ours, theirs, {n: p for n, p in new.named_parameters() if p.requires_grad})


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("code", CODES)
def test_direct_form_equals_the_loops(code: CodeName, reduction: Literal["sum", "mean"]) -> None:
    old = small(4, code)
    new = moved(old)
    ours = direct_penalty(old, new, [0, 2], reduction)
    theirs = reference.penalty(old, new, [0, 2], reduction=reduction)
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=0)
    assert_gradients_close(ours, theirs, dict(new.named_parameters()))


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("net", BACKBONES)
def test_zero_and_flat_at_the_snapshot(net: str, depth: int, code: CodeName) -> None:
    hyper = hypernetwork(decompose(backbone(net), depth)[1], tasks=9, code=code)
    for tasks in ([4], range(8)):
        assert_penalty_zero_at_snapshot(Penalty(hyper, tasks, rows=True), hyper)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("net", BACKBONES)
def test_closed_form_equals_the_direct_form(net: str, depth: int, code: CodeName) -> None:
    old = hypernetwork(decompose(backbone(net), depth)[1], tasks=9, code=code).double()
    new = moved(old, 0.1)
    ours, theirs = Penalty(old, range(8))(new), direct_penalty(old, new, range(8))
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=0)
    assert_gradients_close(ours, theirs, dict(new.named_parameters()), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_task_table_rows_count_only_when_asked(reduction: Literal["sum", "mean"]) -> None:
    old = small(3, "additive")
    new = copy.deepcopy(old)
    with torch.no_grad():
        for table in new.task_tables().values():
            for row in table.rows:
                row += 0.5
    assert value(Penalty(old, [0, 1], reduction=reduction), new) == 0
    ours = Penalty(old, [0, 1], reduction=reduction, rows=True)(new)
    theirs = reference.penalty(old, new, [0, 1], reduction=reduction)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    assert_gradients_close(ours, theirs, dict(new.named_parameters()))


@pytest.mark.parametrize("code", CODES)
def test_growing_after_the_snapshot_changes_nothing(code: CodeName) -> None:
    old = small(3, code)
    penalty, new = Penalty(old, range(3), rows=True), moved(old)
    before = value(penalty, new)
    new.grow(7)
    grown = penalty(new)
    assert float(grown.detach()) == before
    assert_gradients_close(grown, reference.penalty(old, new, range(3)), dict(new.named_parameters()))


def test_only_the_named_tasks_are_protected() -> None:
    old = small(4, "product")
    new = copy.deepcopy(old)
    with torch.no_grad():
        new.embedding[3] += 1
    assert value(Penalty(old, [0, 1, 2]), new) == 0
    assert value(Penalty(old, [3]), new) > 0
    assert value(Penalty(old, []), new) == 0


def test_the_snapshot_does_not_follow_the_hypernetwork() -> None:
    hyper = small(3, "additive")
    penalty, other = Penalty(hyper, [0, 1]), moved(hyper)
    expected = value(penalty, other)
    with torch.no_grad():
        for parameter in hyper.parameters():
            parameter.mul_(2)
    assert value(penalty, other) == expected


@pytest.mark.parametrize("rows", [False, True])
def test_a_snapshot_copies_what_can_change_and_nothing_else(rows: bool) -> None:
    """All of it was copied, twice an experience: ever longer with the number of tasks."""
    tail = backbone("cnn", 3)
    hyper = hypernetwork(tail, 4, adapter_rank=2, base=dict(tail.named_parameters()))
    before = [{name: weight.detach().clone() for name, weight in hyper(task).items()} for task in range(3)]
    snapshot = snapshot_of(hyper, rows=rows)
    alike = {name for name, value in snapshot.named_parameters() if value is dict(hyper.named_parameters())[name]}
    assert {name.partition(".")[0] for name in alike} == {"adapters"} | (set() if rows else {"tables"})
    assert snapshot.base is hyper.base
    assert not any(value.requires_grad for name, value in snapshot.named_parameters() if name not in alike)
    with torch.no_grad():
        for parameter in hyper.trainable(3, all_rows=rows).values():
            parameter.add_(1)
    hyper.grow(6)
    for task, weights in enumerate(before):
        assert_same_tensors(weights, snapshot(task))


def test_damping_adds_a_share_of_the_mean_to_the_diagonal() -> None:
    factor = torch.tensor([[3.0, 1.0], [1.0, 1.0]])
    damped = Curvature(damping=0.5).damped({"w": factor})["w"]
    torch.testing.assert_close(damped, torch.tensor([[4.0, 1.0], [1.0, 2.0]]))


def test_unit_factors_are_the_plain_norm() -> None:
    old, units = small(5, "product"), Curvature(damping=0)
    new = moved(old)
    for name, shape in SHAPES.items():
        if len(shape) > 1:
            units.outputs[name] = torch.eye(shape[0], dtype=torch.float64)
            units.inputs[name] = torch.eye(shape[1], dtype=torch.float64)
    layers = len(old.separable_heads())
    torch.testing.assert_close(Penalty(old, range(5), curvature=units)(new), layers * Penalty(old, range(5))(new))


def test_input_factors_measure_the_change_of_a_linear_layer_s_outputs() -> None:
    old, own = small(2, "product"), Curvature(damping=0)
    new = copy.deepcopy(old)
    with torch.no_grad():
        new.separable_heads()["wide.weight"].table += 0.2  # type: ignore[operator]
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    own.inputs["wide.weight"] = x.T @ x / 50
    cost = Penalty(old, [1], curvature=own)(new)
    change = x @ (new(1)["wide.weight"] - old(1)["wide.weight"]).T
    torch.testing.assert_close(cost, len(old.separable_heads()) * change.square().sum(1).mean())


@pytest.mark.parametrize("code", CODES)
def test_zero_and_flat_at_the_snapshot_under_any_metric(code: CodeName) -> None:
    hyper = small(20, code)
    for tasks in ([4], range(20)):
        assert_penalty_zero_at_snapshot(Penalty(hyper, tasks, curvature=curvature("both")), hyper)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("count", [2, 40])
def test_small_changes_do_not_cancel_in_single_precision(count: int, code: CodeName) -> None:
    """The usual case: outputs moved by a ten-thousandth of themselves; squares of outputs would lose all digits."""
    old = small(count, code).float()
    new = moved(old.double(), 1e-4).float()
    ours = Penalty(old.float(), range(count))(new)
    exact = reference.penalty(copy.deepcopy(old).double(), copy.deepcopy(new).double(), range(count))
    torch.testing.assert_close(ours.double(), exact, rtol=2e-3, atol=0)


def nodes(value: Tensor) -> int:
    """Operations in the autograd graph behind `value`."""
    seen, waiting = set(), [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [parent for parent, _ in node.next_functions]
    return len(seen)


@pytest.mark.parametrize("code", CODES)
def test_the_work_does_not_grow_with_the_tasks(code: CodeName, monkeypatch: pytest.MonkeyPatch) -> None:
    hyper = small(400, code)
    penalties = {count: Penalty(hyper, range(count)) for count in (2, 3, 60, 300)}

    def forbidden(*args: object) -> None:
        raise AssertionError("a task's weights were generated")

    for module in [hyper, *hyper.heads.values()]:
        monkeypatch.setattr(module, "forward", forbidden)
    sizes = {count: nodes(penalty(hyper)) for count, penalty in penalties.items()}
    assert sizes[2] == sizes[3]
    assert sizes[60] == sizes[300]
    assert sizes[300] < 1.5 * sizes[2]
