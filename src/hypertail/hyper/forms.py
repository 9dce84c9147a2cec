"""Quadratic forms of the penalty, with gradients written by hand: fewer and larger products than autograd would take.

`A` is a metric on the columns of a head's matrix, see `Metric`; C are columns that stay fixed, of which A C and C^T A C
are computed once (`Constant`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Metric(NamedTuple):
    """S ⊗ A, kernel positions by input channels: what a change of one row costs.

    Without `inputs` all entries cost alike.
    """

    inputs: Tensor | None = None
    positions: Tensor | None = None

    def __call__(self, columns: Float[Tensor, "features n"]) -> Float[Tensor, "features n"]:
        """The metric applied to each column."""
        if self.inputs is None:
            return columns
        size = len(self.inputs)
        weighed = self.inputs @ columns.view(len(columns) // size, size, columns.shape[1])
        if self.positions is not None:
            weighed = (self.positions @ weighed.flatten(1)).view_as(weighed)
        return weighed.flatten(0, 1)


class Constant(NamedTuple):
    """A C and C^T A C of fixed columns C, and the metric A."""

    weighed: Tensor
    square: Tensor
    metric: Metric

    @classmethod
    def of(cls, columns: Float[Tensor, "features n"], metric: Metric) -> Constant:
        """Computed once."""
        weighed = metric(columns)
        return cls(weighed, columns.T @ weighed, metric)

    def beside(self, change: Tensor, weighed: Tensor) -> Tensor:
        """N^T A N for N = [change, C], where `weighed` is A change."""
        size = change.shape[1]
        kernel = change.new_empty(size + len(self.square), size + len(self.square))
        kernel[:size, :size] = change.T @ weighed
        kernel[:size, size:] = change.T @ self.weighed
        kernel[size:, :size] = kernel[:size, size:].T
        kernel[size:, size:] = self.square
        return kernel


class ProductForm(torch.autograd.Function):
    """trace(N^T A N G) for N = [change, C] and a symmetric Gram matrix G of its columns' codes."""

    @staticmethod
    def forward(ctx: Any, change: Tensor, gram: Tensor, constant: Constant) -> Tensor:
        """The value."""
        weighed = constant.metric(change)
        kernel = constant.beside(change, weighed)
        ctx.save_for_backward(weighed, constant.weighed, gram, kernel)
        total: Tensor = (kernel * gram).sum()
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients by `change` and `gram`."""
        weighed, constant_weighed, gram, kernel = ctx.saved_tensors
        size = weighed.shape[1]
        slope = None
        if ctx.needs_input_grad[0]:
            slope = torch.addmm(weighed @ gram[:size, :size], constant_weighed, gram[size:, :size]) * (2 * grad)
        return slope, kernel * grad if ctx.needs_input_grad[1] else None, None


class RowGram(NamedTuple):
    """Moments of the fixed basis [1 ; e_r] over the rows r.

    Attributes:
        constant: sum of 1, the number of rows.
        mixed: sum of e_r.
        vectors: T times the sum of e_r e_r^T, for T tasks.
    """

    constant: Tensor
    mixed: Tensor
    vectors: Tensor


class SumForm(torch.autograd.Function):
    """sum_jr ||D e_r + V z_j||^2 in the metric A, for V = [change, C], z_j = [h_j ; 1 ; dh_j] and fixed vectors e_r.

    With G_e = T sum_r e_r e_r^T, p = sum_r e_r, q = sum_j z_j and R rows it is

        trace(A D G_e D^T) + 2 (D p)^T A (V q) + R trace(V^T A V sum_j z_j z_j^T).

    No product of D with itself is needed: G_e does not change, so that A (D G_e) gives value and gradient at once.
    `gram` is sum_j z_j z_j^T, whose column of the constant is q.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, tasks: Tensor, gram: Tensor, moments: RowGram, constant: Constant) -> Tensor:
        """The value; all gradients are by-products."""
        metric, one = constant.metric, tasks.shape[1] - 1
        # A V and V^T A V
        weighed = torch.cat((metric(tasks), constant.weighed), dim=1)
        kernel = constant.beside(tasks, weighed[:, : one + 1])
        # A V q and D p
        weighed_sum, rows_sum = weighed @ gram[one], rows @ moments.mixed
        # A D G_e and A D p
        of_rows = metric(rows @ moments.vectors)
        weighed_rows_sum = metric(rows_sum.unsqueeze(1))
        total = (rows * of_rows).sum() + 2 * (rows_sum @ weighed_sum) + moments.constant * (kernel * gram).sum()
        # half the gradients by D and by the columns of V that change, and the gradient by the Gram matrix
        of_rows = torch.addr(of_rows, weighed_sum, moments.mixed)
        of_tasks = torch.addmm(
            moments.constant * (weighed @ gram[:, : one + 1]), weighed_rows_sum, gram[one : one + 1, : one + 1]
        )
        of_gram = moments.constant * kernel
        of_gram[one] += 2 * (rows_sum @ weighed)
        ctx.save_for_backward(of_rows, of_tasks, of_gram)
        result: Tensor = total
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients by `rows`, `tasks` and `gram`."""
        of_rows, of_tasks, of_gram = ctx.saved_tensors
        return of_rows * (2 * grad), of_tasks * (2 * grad), of_gram * grad, None, None
