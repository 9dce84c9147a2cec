"""Gradients with no, first-order or second-order look-ahead (section 3, Eqs. 8-10, Algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from hypertail.errors import check_choice

LookAhead = Literal["none", "first", "second"]
Combine = Literal["mean", "sum"]
Parameters = Mapping[str, Tensor]
Loss = Callable[[Parameters], Tensor]
VirtualStep = Callable[[Parameters, Parameters], dict[str, Tensor]]


class LookAheadResult(NamedTuple):
    """What one step needs: the two losses, detached, and the gradient to step along."""

    loss: Tensor
    penalty: Tensor
    gradients: dict[str, Tensor]
    cosine: Tensor | None


def lookahead_gradients(
    task_loss: Loss,
    penalty: Loss,
    parameters: Parameters,
    *,
    order: LookAhead,
    virtual_step: VirtualStep,
    combine: Combine = "mean",
    record_cosine: bool = False,
) -> LookAheadResult:
    """The gradient along which psi moves in one step on experience i >= 2.

    g1 is the gradient of `task_loss` at psi (Eq. 8); g2 the gradient of `penalty` at the virtual psi' that
    `virtual_step` makes of psi and g1: taken as it is (`first`), backpropagated through the virtual step, that is minus
    lr·(Hessian of the task loss)·(penalty gradient) (`second`, Eq. 9), or taken at psi itself (`none`).

    Args:
        task_loss: cross-entropy on the current batch as a function of the parameters.
        penalty: lambda times the penalty as a function of the parameters.
        parameters: psi, by name; leaves that require a gradient.
        order: none, first or second.
        virtual_step: (psi, g1) -> psi'; differentiable in g1 for the second order.
        combine: (g1 + g2)/2 (Eq. 10) or g1 + g2.
        record_cosine: also return the cosine between g1 and g2 (Fig. 12).

    Raises:
        ConfigError: an unknown order or way to combine.
    """
    check_choice("look-ahead", order, get_args(LookAhead))
    check_choice("way to combine gradients", combine, get_args(Combine))
    names, leaves = list(parameters), list(parameters.values())
    loss = task_loss(parameters)
    first = _differentiate(loss, leaves, create_graph=order == "second")
    if order == "second":
        ahead = virtual_step(parameters, dict(zip(names, first, strict=True)))
        cost = penalty(ahead)
        second = _differentiate(cost, leaves)
        first = tuple(gradient.detach() for gradient in first)
    else:
        point: Parameters = parameters
        if order == "first":
            with torch.no_grad():
                moved = virtual_step(parameters, dict(zip(names, first, strict=True)))
            point = {name: value.detach().requires_grad_() for name, value in moved.items()}
        cost = penalty(point)
        if cost.requires_grad:
            second = _differentiate(cost, list(point.values()))
        else:
            second = tuple(torch.zeros_like(gradient) for gradient in first)
    cosine = _cosine(first, second) if record_cosine else None
    total = torch._foreach_add(first, second)
    if combine == "mean":
        torch._foreach_mul_(total, 0.5)
    return LookAheadResult(loss.detach(), cost.detach(), dict(zip(names, total, strict=True)), cosine)


def _differentiate(loss: Tensor, leaves: list[Tensor], *, create_graph: bool = False) -> tuple[Tensor, ...]:
    # autocast applies to the forward pass only
    with torch.autocast(loss.device.type, enabled=False):
        return torch.autograd.grad(loss, leaves, create_graph=create_graph, materialize_grads=True)


def _cosine(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Tensor:
    a = torch.cat([gradient.flatten() for gradient in first])
    b = torch.cat([gradient.flatten() for gradient in second])
    return torch.nn.functional.cosine_similarity(a, b, dim=0)


def sgd_step(lr: float) -> VirtualStep:
    """psi' = psi - lr·g (Algorithm 1, line 18)."""

    def step(parameters: Parameters, gradients: Parameters) -> dict[str, Tensor]:
        moved = torch._foreach_add(list(parameters.values()), list(gradients.values()), alpha=-lr)
        return dict(zip(parameters, moved, strict=True))

    return step


def adam_step(optimizer: torch.optim.Adam, leaves: Mapping[str, Tensor]) -> VirtualStep:
    """The step that `optimizer` would take along g, without taking it: psi' = psi - lr·m/(sqrt(v) + eps).

    Args:
        optimizer: Adam without weight decay; its groups may differ in their learning rate alone.
        leaves: the parameters by name, as the optimizer holds them.
    """

    def step(parameters: Parameters, gradients: Parameters) -> dict[str, Tensor]:
        group = optimizer.param_groups[0]
        (beta1, beta2), eps = group["betas"], group["eps"]
        rates = {id(leaf): float(group["lr"]) for group in optimizer.param_groups for leaf in group["params"]}
        grads = list(gradients.values())
        states = [optimizer.state.get(leaves[name], {}) for name in gradients]
        counts = [int(state["step"]) + 1 if state else 1 for state in states]
        m = torch._foreach_mul(grads, 1 - beta1)
        v = torch._foreach_mul(torch._foreach_mul(grads, grads), 1 - beta2)
        if any(states):
            zero = torch.zeros((), device=grads[0].device)
            m = torch._foreach_add(m, [state.get("exp_avg", zero) for state in states], alpha=beta1)
            v = torch._foreach_add(v, [state.get("exp_avg_sq", zero) for state in states], alpha=beta2)
        # the square root has no derivative at zero, which the second order would meet
        v = torch._foreach_clamp_min(v, 1e-30)
        root = torch._foreach_sqrt(torch._foreach_mul(v, [1 / (1 - beta2**count) for count in counts]))
        ascent = torch._foreach_div(m, torch._foreach_add(root, eps))
        scales = [-rates[id(leaves[name])] / (1 - beta1**n) for name, n in zip(gradients, counts, strict=True)]
        update = torch._foreach_mul(ascent, scales)
        moved = torch._foreach_add(list(parameters.values()), update)
        return dict(zip(parameters, moved, strict=True))

    return step
