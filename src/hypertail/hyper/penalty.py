"""The penalty on the outputs for earlier tasks (Eq. 7), at a cost that does not grow with their number.

With separable codes a_jr = u_r * f_j (`hypertail.hyper.heads`) the change of a generated row is

    theta_jr - theta*_jr = dM (u_r * f_j) + M* (du_r * f_j) + M* (u*_r * df_j) = N v_jr,

where dM = M - M*, du = u - u*, df = f - f*, N = [dM, M*, M*] and v_jr stacks the three codes. Every column of v is
itself a row factor times a task factor, so the sum over tasks and rows is a quadratic form with a Gram matrix that
separates too:

    sum_jr ||N v_jr||^2 = trace(N G N^T),    G = (sum_r r r^T) * (sum_j t t^T).

A metric on a layer's inputs (A) or outputs (G) fits in: N^T N becomes N^T A N, and sum_r r r^T becomes R^T G R.
Differences are taken before squaring; squaring the two outputs and subtracting would cancel in float32.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from hypertail.errors import check_choice
from hypertail.hyper.curvature import Curvature
from hypertail.hyper.heads import SeparableHead
from hypertail.hyper.hypernetwork import Hypernetwork

Reduction = Literal["sum", "mean"]


class Penalty:
    """sum_{j in tasks} ||H*(j) - H(j)||^2 against a snapshot H* taken at construction.

    Args:
        hyper: the hypernetwork; it is copied, and the copy never changes.
        tasks: the earlier tasks j.
        reduction: `sum` over tasks (the paper), or `mean` (the authors' code).
        curvature: where it has the factors A (in, in) and G (out, out) of a parameter, a change D of its filters costs
            trace(G D A D^T), summed over taps, times the number of layers, instead of ||D||^2: to first order a bound
            on the mean squared change of the logits.
        rows: whether to include the task-table rows, which only an optimizer with kept momentum can move.
    """

    def __init__(
        self,
        hyper: Hypernetwork,
        tasks: Iterable[int],
        *,
        reduction: Reduction = "sum",
        curvature: Curvature | None = None,
        rows: bool = False,
    ) -> None:
        check_choice("reduction", reduction, get_args(Reduction))
        self.snapshot = copy.deepcopy(hyper).requires_grad_(False)
        self.tasks = torch.tensor(list(tasks), dtype=torch.long, device=hyper.embedding.device)
        self.scale = 1.0 if reduction == "sum" else 1.0 / max(1, len(self.tasks))
        self.rows = rows
        self.outputs: dict[str, Tensor] = {}
        self.inputs: dict[str, Tensor] = {}
        if curvature is not None:
            self.inputs = curvature.damped(curvature.inputs)
            outputs = curvature.damped(curvature.outputs)
            self.outputs = {name: factor for name, factor in outputs.items() if name != hyper.classifier}
            # the square of a sum over layers is at most their number times the sum of squares
            self.scale *= len(hyper.heads)
        with torch.no_grad():
            hidden = self.snapshot.hidden(self.tasks)
            self._targets = {
                name: _Target.of(head, hidden, self.inputs.get(name))
                for name, head in self.snapshot.separable_heads().items()
            }

    def __call__(self, hyper: Hypernetwork) -> Float[Tensor, ""]:
        """The penalty at the present parameters of `hyper`, without its factor lambda."""
        total = hyper.embedding.new_zeros(())
        if not len(self.tasks):
            return total
        hidden = hyper.hidden(self.tasks)
        for name, head in hyper.separable_heads().items():
            total = total + self._head(name, head, hidden)
        if self.rows:
            for name, table in hyper.task_tables().items():
                old = self.snapshot.task_tables()[name]
                total = total + sum(((table(int(j)) - old(int(j))) ** 2).sum() for j in self.tasks)
        return total * self.scale

    def _head(self, name: str, head: SeparableHead, hidden: Tensor) -> Tensor:
        target, outputs = self._targets[name], self.outputs.get(name)
        row, task = head.row_factor(), head.task_factor(hidden)
        r, t = head.row_columns, head.task_columns
        rows = torch.cat((row, row[:, r] - target.row[:, r], target.row[:, t]), dim=1)
        tasks = torch.cat((task, task[:, r], task[:, t] - target.task[:, t]), dim=1)
        change = head.matrix() - target.matrix
        if outputs is None and len(tasks) * len(rows) <= rows.shape[1]:
            codes = (tasks.unsqueeze(1) * rows).flatten(0, 1)
            moved = torch.cat((change, target.constant), dim=1) @ codes.T
            return (moved * _weigh(target.inputs, moved)).sum()
        gram = (rows.T @ (rows if outputs is None else outputs @ rows)) * (tasks.T @ tasks)
        form: Tensor = _QuadraticForm.apply(  # type: ignore[no-untyped-call]
            change, gram, target.inputs, target.weighed, target.square
        )
        return form


class _Target(NamedTuple):
    """What stays fixed of one head within an experience.

    N = [dM, C] with C = [M*, M*] (only the columns that vary), so that A C and C^T A C are computed once.
    """

    row: Tensor
    task: Tensor
    matrix: Tensor
    constant: Tensor
    inputs: Tensor | None
    weighed: Tensor
    square: Tensor

    @classmethod
    def of(cls, head: SeparableHead, hidden: Tensor, inputs: Tensor | None) -> _Target:
        matrix = head.matrix()
        constant = torch.cat((matrix[:, head.row_columns], matrix[:, head.task_columns]), dim=1)
        weighed = _weigh(inputs, constant)
        task = head.task_factor(hidden)
        return cls(head.row_factor(), task, matrix, constant, inputs, weighed, constant.T @ weighed)


def _weigh(factor: Tensor | None, columns: Tensor) -> Tensor:
    """A applied to the input channels of every tap, for each column; the columns themselves without A."""
    if factor is None:
        return columns
    return (factor @ columns.view(-1, len(factor), columns.shape[1])).flatten(0, 1)


class _QuadraticForm(torch.autograd.Function):
    """trace(N^T A N G) for N = [change, constant] and symmetric A and G."""

    @staticmethod
    def forward(
        ctx: Any, change: Tensor, gram: Tensor, factor: Tensor | None, weighed: Tensor, square: Tensor
    ) -> Tensor:
        size = change.shape[1]
        own = _weigh(factor, change)
        kernel = torch.empty_like(gram)
        kernel[:size, :size] = change.T @ own
        kernel[:size, size:] = change.T @ weighed
        kernel[size:, :size] = kernel[:size, size:].T
        kernel[size:, size:] = square
        ctx.save_for_backward(own, weighed, gram, kernel)
        total: Tensor = (kernel * gram).sum()
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        own, weighed, gram, kernel = ctx.saved_tensors
        size = own.shape[1]
        slope = None
        if ctx.needs_input_grad[0]:
            slope = torch.addmm(own @ gram[:size, :size], weighed, gram[size:, :size]) * (2 * grad)
        return slope, kernel * grad if ctx.needs_input_grad[1] else None, None, None, None


def direct_penalty(
    snapshot: Hypernetwork, hyper: Hypernetwork, tasks: Iterable[int], reduction: Reduction = "sum"
) -> Float[Tensor, ""]:
    """Eq. 7 term by term, old and new weights of every task regenerated: the cost grows with the tasks."""
    total, count = hyper.embedding.new_zeros(()), 0
    for task in tasks:
        with torch.no_grad():
            old = snapshot(task)
        new = hyper(task)
        total = total + sum(((new[name] - old[name]) ** 2).sum() for name in new)
        count += 1
    return total / max(1, count) if reduction == "mean" else total
