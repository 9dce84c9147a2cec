"""The penalty on the outputs for earlier tasks (Eq. 7), at a cost that does not grow with their number.

With separable codes a_jr = u_r * f_j (`hypertail.hyper.heads`) the change of a generated row is

    theta_jr - theta*_jr = dM (u_r * f_j) + M* (du_r * f_j) + M* (u*_r * df_j) = N v_jr,

where dM = M - M*, du = u - u*, df = f - f*, N = [dM, M*, M*] and v_jr stacks the three codes. Every column of v is
itself a row factor times a task factor, so the sum over tasks and rows is a quadratic form with a Gram matrix that
separates too:

    sum_jr ||N v_jr||^2 = trace(N G N^T),    G = (sum_r r r^T) * (sum_j t t^T).

Differences are taken before squaring; squaring the two outputs and subtracting would cancel in float32.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, Literal, get_args

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
            trace(G D A D^T), summed over taps, instead of ||D||^2.
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
        self.roots: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}
        if curvature is not None:
            self.roots = {name: _root(factor) for name, factor in curvature.damped(curvature.inputs).items()}
            self.outputs = {name: g for name, g in curvature.damped(curvature.outputs).items() if name != hyper.classifier}
        with torch.no_grad():
            hidden = self.snapshot.hidden(self.tasks)
            self._targets = {
                name: (head.row_factor(), head.task_factor(hidden), head.matrix())
                for name, head in self.snapshot.separable_heads().items()
            }

    def __call__(self, hyper: Hypernetwork) -> Float[Tensor, ""]:
        """The penalty at the present parameters of `hyper`, without its factor lambda."""
        total = hyper.embedding.new_zeros(())
        if not len(self.tasks):
            return total
        hidden = hyper.hidden(self.tasks)
        heads = hyper.separable_heads()
        for name, head in heads.items():
            total = total + self._head(name, head, hidden)
        if self.roots:
            # the square of a sum over layers is at most their number times the sum of squares
            total = total * len(heads)
        if self.rows:
            for name, table in hyper.task_tables().items():
                old = self.snapshot.task_tables()[name]
                total = total + sum(((table(int(j)) - old(int(j))) ** 2).sum() for j in self.tasks)
        return total * self.scale

    def _head(self, name: str, head: SeparableHead, hidden: Tensor) -> Tensor:
        row_old, task_old, matrix_old = self._targets[name]
        row, task, matrix = head.row_factor(), head.task_factor(hidden), head.matrix()
        r, t = head.row_columns, head.task_columns
        rows = torch.cat((row, row[:, r] - row_old[:, r], row_old[:, t]), dim=1)
        tasks = torch.cat((task, task[:, r], task[:, t] - task_old[:, t]), dim=1)
        change = torch.cat((matrix - matrix_old, matrix_old[:, r], matrix_old[:, t]), dim=1)
        root = self.roots.get(name)
        if root is not None:
            change = (root @ change.view(-1, root.shape[0], change.shape[1])).flatten(0, 1)
        outputs = self.outputs.get(name)
        if outputs is None and len(tasks) * len(rows) <= change.shape[1]:
            codes = (tasks.unsqueeze(1) * rows).flatten(0, 1)
            return (change @ codes.T).square().sum()
        weighted = rows if outputs is None else outputs @ rows
        form: Tensor = _QuadraticForm.apply(  # type: ignore[no-untyped-call]
            change, (rows.T @ weighted) * (tasks.T @ tasks)
        )
        return form


class _QuadraticForm(torch.autograd.Function):
    """trace(N G N^T) for a symmetric G: two products for value and gradients, where autograd would take three."""

    @staticmethod
    def forward(ctx: Any, n: Tensor, g: Tensor) -> Tensor:
        product = n @ g
        ctx.save_for_backward(n, product)
        total: Tensor = (n * product).sum()
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        n, product = ctx.saved_tensors
        grad_n = 2 * grad * product if ctx.needs_input_grad[0] else None
        grad_g = grad * (n.T @ n) if ctx.needs_input_grad[1] else None
        return grad_n, grad_g


def _root(moments: Tensor) -> Tensor:
    """R with R^T R = S for a positive semi-definite S."""
    values, vectors = torch.linalg.eigh(moments.double())
    root: Tensor = values.clamp_min(0).sqrt().unsqueeze(1) * vectors.T
    return root.to(moments)


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
