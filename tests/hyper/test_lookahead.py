from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hypertail.hyper import Hypernetwork, LookAhead, Penalty, adam_step, lookahead_gradients, sgd_step
from hypertail.hyper.heads import CodeName
from hypertail.seeds import seeded
from support import reference

CODES: tuple[CodeName, ...] = ("additive", "product")
ORDERS: tuple[LookAhead, ...] = ("none", "first", "second")
LR = 0.3
Parameters = Mapping[str, Tensor]


def leaves() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    shapes = {"a": (3,), "b": (2, 2), "unused": (2,)}
    return {
        name: torch.randn(shape, generator=random, dtype=torch.float64).requires_grad_()
        for name, shape in shapes.items()
    }


def bumpy(p: Parameters) -> Tensor:
    """Curved everywhere, the two parameters coupled; `unused` does not take part."""
    return (p["a"].sin() * p["a"].roll(1)).sum() * p["b"].square().sum() + (p["b"] @ p["b"]).tanh().sum()


def bowl(p: Parameters) -> Tensor:
    return (p["a"] - 1).pow(4).sum() + (p["a"][:2] @ p["b"]).square().sum()


def as_scalar(function: Callable[[Parameters], Tensor], like: Parameters) -> reference.Scalar:
    return lambda vector: function(reference.unflatten(vector, like))


@pytest.mark.parametrize("combine", ["mean", "sum"])
@pytest.mark.parametrize("order", ORDERS)
def test_gradients_equal_those_with_an_explicit_hessian(order: LookAhead, combine: Literal["mean", "sum"]) -> None:
    psi = leaves()
    result = lookahead_gradients(bumpy, bowl, psi, order=order, virtual_step=sgd_step(LR), combine=combine)
    g1, g2 = reference.lookahead(as_scalar(bumpy, psi), as_scalar(bowl, psi), reference.flatten(psi), LR, order)
    expected = (g1 + g2) / (2 if combine == "mean" else 1)
    torch.testing.assert_close(reference.flatten(result.gradients), expected, rtol=1e-11, atol=1e-12)
    assert list(result.gradients) == list(psi)


def test_second_order_is_the_derivative_through_the_virtual_step() -> None:
    psi = leaves()
    vector, loss, cost = reference.flatten(psi), as_scalar(bumpy, psi), as_scalar(bowl, psi)
    slope = reference.derivative(lambda v: cost(v - LR * reference.gradient(loss, v)), vector)
    result = lookahead_gradients(
        lambda p: 0 * bumpy(p) + bumpy(p), bowl, psi, order="second", virtual_step=sgd_step(LR), combine="sum"
    )
    g2 = reference.flatten(result.gradients) - reference.gradient(loss, vector)
    torch.testing.assert_close(g2, slope, rtol=1e-6, atol=1e-7)


def test_orders_differ_and_agree_without_a_virtual_step() -> None:
    def run(order: LookAhead, lr: float) -> Tensor:
        return reference.flatten(
            lookahead_gradients(bumpy, bowl, leaves(), order=order, virtual_step=sgd_step(lr)).gradients
        )

    none, first, second = (run(order, LR) for order in ORDERS)
    assert not torch.allclose(none, first)
    assert not torch.allclose(first, second)
    for order in ORDERS:
        torch.testing.assert_close(run(order, 0.0), none)


@pytest.mark.parametrize("order", ORDERS)
def test_losses_are_reported_and_parameters_stay_where_they_were(order: LookAhead) -> None:
    psi = leaves()
    before = reference.flatten(psi).clone()
    result = lookahead_gradients(bumpy, bowl, psi, order=order, virtual_step=sgd_step(LR))
    assert torch.equal(reference.flatten(psi), before)
    assert all(value.grad is None for value in psi.values())
    torch.testing.assert_close(result.loss, bumpy(psi).detach())
    loss = as_scalar(bumpy, psi)
    ahead = before if order == "none" else before - LR * reference.gradient(loss, before)
    torch.testing.assert_close(result.penalty, as_scalar(bowl, psi)(ahead))
    for value in (result.loss, result.penalty, *result.gradients.values()):
        assert not value.requires_grad


@pytest.mark.parametrize("order", ORDERS)
def test_a_penalty_that_reaches_nothing_leaves_half_the_task_gradient(order: LookAhead) -> None:
    psi = leaves()
    result = (
        lookahead_gradients(bumpy, lambda p: torch.zeros(()), psi, order=order, virtual_step=sgd_step(LR))
        if order != "second"
        else lookahead_gradients(bumpy, lambda p: 0 * p["a"].sum(), psi, order=order, virtual_step=sgd_step(LR))
    )
    expected = reference.gradient(as_scalar(bumpy, psi), reference.flatten(psi)) / 2
    torch.testing.assert_close(reference.flatten(result.gradients), expected)


def test_cosine_is_recorded_on_request() -> None:
    psi = leaves()
    result = lookahead_gradients(bumpy, bowl, psi, order="first", virtual_step=sgd_step(LR), record_cosine=True)
    g1, g2 = reference.lookahead(as_scalar(bumpy, psi), as_scalar(bowl, psi), reference.flatten(psi), LR, "first")
    assert result.cosine is not None
    assert float(result.cosine) == pytest.approx(float(g1 @ g2 / g1.norm() / g2.norm()))
    assert lookahead_gradients(bumpy, bowl, psi, order="first", virtual_step=sgd_step(LR)).cosine is None


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("earlier", [2, 20])
def test_hypernetwork_s_gradients_equal_those_with_an_explicit_hessian(
    order: LookAhead, code: CodeName, earlier: int
) -> None:
    """The real penalty and a cross-entropy through generated weights, both of the penalty's branches."""
    with seeded(0, "tiny"):
        shapes = {"conv.weight": (3, 2, 1, 1), "fc.weight": (2, 3), "fc.bias": (2,)}
        hyper = Hypernetwork(shapes, earlier + 1, embedding=2, mlp=(3, 3), rank=2, code=code, classifier="fc.weight")
        hyper = hyper.double()
    penalty = Penalty(hyper, range(earlier))
    random = torch.Generator().manual_seed(1)
    x = torch.randn(7, 2, 2, 2, generator=random, dtype=torch.float64)
    y = torch.randint(2, (7,), generator=random)
    psi = hyper.trainable(earlier)
    with torch.no_grad():
        for parameter in psi.values():
            parameter += 0.1 * torch.randn(parameter.shape, generator=random, dtype=torch.float64)

    def logits(h: Hypernetwork) -> Tensor:
        weights = h(earlier)
        features = F.conv2d(x, weights["conv.weight"]).tanh().mean((2, 3))
        return F.linear(features, weights["fc.weight"], weights["fc.bias"])

    def loss(p: Parameters) -> Tensor:
        return hyper.at(p, lambda h: F.cross_entropy(logits(h), y))

    def cost(p: Parameters) -> Tensor:
        return 0.5 * hyper.at(p, penalty)

    result = lookahead_gradients(loss, cost, psi, order=order, virtual_step=sgd_step(LR))
    g1, g2 = reference.lookahead(as_scalar(loss, psi), as_scalar(cost, psi), reference.flatten(psi), LR, order)
    torch.testing.assert_close(reference.flatten(result.gradients), (g1 + g2) / 2, rtol=1e-8, atol=1e-10)


def gradients(count: int) -> list[dict[str, Tensor]]:
    random = torch.Generator().manual_seed(5)
    return [
        {name: torch.randn(leaf.shape, generator=random, dtype=torch.float64) for name, leaf in leaves().items()}
        for _ in range(count)
    ]


@pytest.mark.parametrize("before", [0, 1, 5])
def test_virtual_adam_step_is_the_step_the_optimizer_takes(before: int) -> None:
    psi, steps = leaves(), gradients(before + 1)
    start = {name: leaf.detach().clone() for name, leaf in psi.items()}
    optimizer = torch.optim.Adam(psi.values(), lr=1e-2)

    def take(step: Parameters) -> None:
        for name, leaf in psi.items():
            leaf.grad = step[name].clone()
        optimizer.step()

    for step in steps[:-1]:
        take(step)
    now = reference.flatten(psi).clone()
    virtual = adam_step(optimizer, psi)(psi, steps[-1])
    assert torch.equal(reference.flatten(psi), now), "the virtual step must not move the parameters"
    take(steps[-1])
    for name, leaf in psi.items():
        torch.testing.assert_close(virtual[name], leaf, rtol=1e-12, atol=1e-14)
        by_formula = reference.adam(start[name], [step[name] for step in steps], 1e-2)
        torch.testing.assert_close(virtual[name], by_formula.requires_grad_(), rtol=1e-10, atol=1e-12)


def test_virtual_adam_step_of_parameters_that_the_optimizer_has_not_met_yet() -> None:
    """A new task's rows join parameters whose moments are kept: each parameter goes by its own step count."""
    psi, steps = leaves(), gradients(3)
    optimizer = torch.optim.Adam(psi.values(), lr=1e-2)
    for step in steps[:2]:
        psi["a"].grad, psi["unused"].grad = step["a"].clone(), step["unused"].clone()
        optimizer.step()
    virtual = adam_step(optimizer, psi)(psi, steps[2])
    for name, leaf in psi.items():
        leaf.grad = steps[2][name].clone()
    optimizer.step()
    for name, leaf in psi.items():
        torch.testing.assert_close(virtual[name], leaf, rtol=1e-12, atol=1e-14)


def test_virtual_adam_step_at_rates_that_differ() -> None:
    psi, steps = leaves(), gradients(2)
    optimizer = torch.optim.Adam([{"params": [psi["a"]]}, {"params": [psi["b"], psi["unused"]], "lr": 0.3}], lr=1e-2)
    for step in steps:
        virtual = adam_step(optimizer, psi)(psi, step)
        for name, leaf in psi.items():
            leaf.grad = step[name].clone()
        optimizer.step()
    for name, leaf in psi.items():
        torch.testing.assert_close(virtual[name], leaf, rtol=1e-12, atol=1e-14)


def test_second_order_through_the_adam_step_is_its_derivative() -> None:
    psi, steps = leaves(), gradients(3)
    optimizer = torch.optim.Adam(psi.values(), lr=1e-2)
    for step in steps:
        for name, leaf in psi.items():
            leaf.grad = step[name].clone()
        optimizer.step()
    virtual = adam_step(optimizer, psi)
    vector, loss = reference.flatten(psi), as_scalar(bumpy, psi)

    def ahead(v: Tensor) -> Tensor:
        slope = reference.unflatten(reference.gradient(loss, v), psi)
        return bowl(virtual(reference.unflatten(v, psi), slope))

    slope = reference.derivative(ahead, vector)
    result = lookahead_gradients(bumpy, bowl, psi, order="second", virtual_step=virtual, combine="sum")
    g2 = reference.flatten(result.gradients) - reference.gradient(loss, vector)
    torch.testing.assert_close(g2, slope, rtol=1e-5, atol=1e-6)


def test_second_order_is_finite_where_a_gradient_is_zero() -> None:
    psi = leaves()
    optimizer = torch.optim.Adam(psi.values(), lr=1e-2)
    result = lookahead_gradients(bumpy, bowl, psi, order="second", virtual_step=adam_step(optimizer, psi))
    assert all(gradient.isfinite().all() for gradient in result.gradients.values())
    assert not result.gradients["unused"].any()
