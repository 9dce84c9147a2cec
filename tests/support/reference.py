"""Slow, obvious twins of the algorithms, for float64 and tiny sizes: loops, explicit Hessians, finite differences."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hypertail.hyper import ChannelHead, Hypernetwork

Scalar = Callable[[Tensor], Tensor]


# Generated weights -------------------------------------------------------------------------------------------------


def channel_weight(head: ChannelHead, hidden: Tensor) -> Tensor:
    """theta_jr = W [h_j ; e_r] + b entry by entry, or W [h_j ; e_r * (1 + P h_j)] + b for the product code.

    `hidden` is h_j, one task. The numbers of one filter lie in memory as (height, width, in).
    """
    weight, bias = head.linear.weight, head.linear.bias
    out, inputs = head.shape[:2]
    height, width = head.shape[2:] if len(head.shape) == 4 else (1, 1)
    generated = torch.zeros(out, inputs, height, width, dtype=hidden.dtype)
    for r in range(out):
        code = head.table[r]
        if head.modulation is not None:
            code = code * (1 + head.modulation.weight @ hidden)
        joined = torch.cat((hidden, code))
        for y in range(height):
            for x in range(width):
                for i in range(inputs):
                    row = (y * width + x) * inputs + i
                    generated[r, i, y, x] = weight[row] @ joined + bias[row]
    return generated.reshape(head.shape)


def tail_shapes(depth: int, classes: int, width: int = 20) -> list[tuple[int, ...]]:
    """The shapes of the tail of slim ResNet-18 at `depth`, written out from section 4 of the paper."""
    channels = [width, width, 2 * width, 4 * width, 8 * width]
    shapes: list[tuple[int, ...]] = []
    if depth == 0:
        shapes += [(width, 3, 3, 3), (width,), (width,)]
    for block in range(max(1, depth + 1), 5):
        before, after = channels[block - 1], channels[block]
        shapes += [(after, before, 3, 3), (after,), (after,)]
        shapes += [
            (after, after, 3, 3),
            (after,),
            (after,),
        ] * 3  # the second convolution and the second BasicBlock
        if before != after:
            shapes += [(after, before, 1, 1), (after,), (after,)]
    return [*shapes, (classes, channels[4]), (classes,)]


def hypernetwork_size(
    depth: int,
    tasks: int,
    classes: int,
    *,
    embedding: int = 32,
    mlp: tuple[int, int] = (50, 32),
    rank: int = 32,
) -> int:
    """Parameters of HN-depth for slim ResNet-18, by the formulas of appendix A."""
    first, hidden = mlp
    total = tasks * embedding + (embedding + 1) * first + (first + 1) * hidden
    for shape in tail_shapes(depth, classes):
        if len(shape) == 4:
            out, inputs, height, width = shape
            total += rank * out + (hidden + rank + 1) * inputs * height * width
        elif len(shape) == 2:
            total += (hidden + 1) * shape[0] * shape[1]
        else:
            total += tasks * shape[0]
    return total


# Penalty -----------------------------------------------------------------------------------------------------------


def penalty(
    old: Hypernetwork,
    new: Hypernetwork,
    tasks: Iterable[int],
    *,
    reduction: Literal["sum", "mean"] = "sum",
    inputs: Mapping[str, Tensor] | None = None,
    outputs: Mapping[str, Tensor] | None = None,
    positions: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Eq. 7 over tasks, parameters and entries; with factors A, G and S trace(G D_s A D_t^T) S_st over pairs of kernel
    positions, times the layers.
    """
    chosen = list(tasks)
    total = torch.zeros((), dtype=new.embedding.dtype)
    for task in chosen:
        before, after = old(task), new(task)
        for name, weight in after.items():
            change = weight - before[name].detach()
            a, g = (inputs or {}).get(name), (outputs or {}).get(name)
            if a is None and g is None:
                for entry in change.flatten():
                    total = total + entry * entry
            else:
                total = total + _weighed(change, a, g, (positions or {}).get(name))
    if inputs is not None or outputs is not None:
        total = total * sum(len(shape) > 1 for shape in new.shapes.values())
    return total / len(chosen) if reduction == "mean" else total


def _weighed(change: Tensor, a: Tensor | None, g: Tensor | None, s: Tensor | None) -> Tensor:
    out, channels = change.shape[:2]
    columns = change.reshape(out, channels, -1)
    a = torch.eye(channels, dtype=change.dtype) if a is None else a
    g = torch.eye(out, dtype=change.dtype) if g is None else g
    s = torch.eye(columns.shape[2], dtype=change.dtype) if s is None else s
    total = torch.zeros((), dtype=change.dtype)
    for (k, one), (m, other) in itertools.product(enumerate(columns.unbind(2)), repeat=2):
        for p, q in itertools.product(range(out), repeat=2):
            if s[k, m] == 0 or g[p, q] == 0:
                continue
            for i, j in itertools.product(range(channels), repeat=2):
                total = total + s[k, m] * g[p, q] * one[p, i] * a[i, j] * other[q, j]
    return total


# Look-ahead --------------------------------------------------------------------------------------------------------


def flatten(parameters: Mapping[str, Tensor]) -> Tensor:
    """All parameters in one detached vector."""
    return torch.cat([value.detach().flatten() for value in parameters.values()])


def unflatten(vector: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The vector cut into tensors shaped and named as in `like`; differentiable."""
    parts = vector.split([value.numel() for value in like.values()])
    return {name: part.view_as(value) for part, (name, value) in zip(parts, like.items(), strict=True)}


def gradient(function: Scalar, psi: Tensor) -> Tensor:
    """The gradient of a scalar function of a vector."""
    point = psi.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(function(point), point)
    return slope


def lookahead(
    loss: Scalar, cost: Scalar, psi: Tensor, lr: float, order: Literal["none", "first", "second"]
) -> tuple[Tensor, Tensor]:
    """(g1, g2) of Eqs. 8 and 9 with the SGD virtual step; the second order multiplies by an explicit Hessian."""
    g1 = gradient(loss, psi)
    if order == "none":
        return g1, gradient(cost, psi)
    g2 = gradient(cost, psi - lr * g1)
    if order == "second":
        hessian = torch.autograd.functional.hessian(loss, psi)
        g2 = g2 - lr * hessian @ g2
    return g1, g2


def derivative(function: Scalar, psi: Tensor, step: float = 1e-6) -> Tensor:
    """The gradient of `function` at `psi` by central differences."""
    slope = torch.empty_like(psi)
    for index in range(len(psi)):
        offset = torch.zeros_like(psi)
        offset[index] = step
        slope[index] = (function(psi + offset) - function(psi - offset)) / (2 * step)
    return slope


def adam(
    theta: Tensor,
    gradients: Sequence[Tensor],
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
) -> Tensor:
    """Where Adam stands after stepping along `gradients` (Kingma & Ba, 2015, Algorithm 1), number by number."""
    result = []
    for index in range(theta.numel()):
        value, m, v = float(theta.flatten()[index]), 0.0, 0.0
        for count, step in enumerate(gradients, start=1):
            g = float(step.flatten()[index])
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g * g
            value -= lr * (m / (1 - beta1**count)) / (math.sqrt(v / (1 - beta2**count)) + eps)
        result.append(value)
    return torch.tensor(result, dtype=theta.dtype).view_as(theta)


# Elastic weight consolidation --------------------------------------------------------------------------------------


def fisher(model: nn.Module, logits: Scalar, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Mean over samples of the squared gradient of the log-likelihood, one backward pass per sample."""
    model.eval()
    total = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    for image, label in zip(inputs, labels, strict=True):
        model.zero_grad()
        F.cross_entropy(logits(image.unsqueeze(0)), label.unsqueeze(0)).backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                total[name] += parameter.grad**2
    model.zero_grad()
    return {name: value / len(inputs) for name, value in total.items()}


def ewc_penalty(
    anchors: Sequence[tuple[Mapping[str, Tensor], Mapping[str, Tensor]]], theta: Mapping[str, Tensor]
) -> Tensor:
    """sum_j sum_p F_jp (theta_p - theta*_jp)^2 over (F_j, theta*_j), task after task."""
    total = torch.zeros(())
    for diagonal, anchor in anchors:
        for name, star in anchor.items():
            total = total + (diagonal[name] * (theta[name] - star) ** 2).sum()
    return total
