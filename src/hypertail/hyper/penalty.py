"""The penalty on the outputs for earlier tasks (Eq. 7), at a cost that does not grow with their number.

With separable codes a_jr = u_r * t_j (`hypertail.hyper.heads`) the change of a generated row is

    theta_jr - theta*_jr = dM (u_r * t_j) + M* (du_r * t_j) + M* (u*_r * dt_j) = N v_jr,

where dM = M - M*, du = u - u*, dt = t - t*, N = [dM, M*, M*] and v_jr stacks the three codes. Every column of v is
itself a column of the row's basis (now, its change, or before) times one of the task's basis, so the sum over tasks and
rows is a quadratic form with a Gram matrix that separates too:

    sum_jr ||N v_jr||^2 = trace(N G N^T),    G = (sum_r r r^T) * (sum_j t t^T).

Tasks enter through the small Gram matrix of their basis alone. A metric on a layer's inputs (A) or outputs (G) fits
in: N^T N becomes N^T A N, and sum_r r r^T becomes R^T G R. Differences are taken before squaring; squaring the two
outputs and subtracting would cancel in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from hypertail.errors import check_choice
from hypertail.hyper.curvature import Curvature
from hypertail.hyper.forms import Constant, Metric, ProductForm, RowGram, SumForm
from hypertail.hyper.heads import SeparableHead
from hypertail.hyper.hypernetwork import Hypernetwork
from hypertail.hyper.snapshot import snapshot_of

Reduction = Literal["sum", "mean"]


class Penalty:
    """sum_{j in tasks} ||H*(j) - H(j)||^2 against a snapshot H* taken at construction.

    Args:
        hyper: the hypernetwork; what can change of it is copied.
        tasks: the earlier tasks j.
        reduction: `sum` over tasks (the paper), or `mean` (the authors' code).
        curvature: where it has the factors A (in, in) and G (out, out) of a parameter, a change D of its filters costs
            trace(G D A D^T), summed over kernel positions, times the number of layers, instead of ||D||^2: to first
            order a bound on the mean squared change of the logits.
        rows: whether to include the task-table rows, which only an optimizer with kept momentum can move.
        snapshot: H*, if it was taken already (`snapshot_of`, with the same `rows`).
    """

    def __init__(
        self,
        hyper: Hypernetwork,
        tasks: Iterable[int],
        *,
        reduction: Reduction = "sum",
        curvature: Curvature | None = None,
        rows: bool = False,
        snapshot: Hypernetwork | None = None,
    ) -> None:
        check_choice("reduction", reduction, get_args(Reduction))
        self.snapshot = snapshot or snapshot_of(hyper, rows=rows)
        self.tasks = torch.tensor(list(tasks), dtype=torch.long, device=hyper.embedding.device)
        self.scale = 1.0 if reduction == "sum" else 1.0 / max(1, len(self.tasks))
        self.rows = rows
        self.outputs: dict[str, Tensor] = {}
        self.inputs: dict[str, Tensor] = {}
        self.positions: dict[str, Tensor] = {}
        if curvature is not None:
            self.inputs = curvature.damped(curvature.inputs)
            self.positions = curvature.damped(curvature.positions)
            outputs = curvature.damped(curvature.outputs)
            self.outputs = {name: factor for name, factor in outputs.items() if name != hyper.classifier}
            # the square of a sum over layers is at most their number times the sum of squares
            self.scale *= len(hyper.heads)
        with torch.no_grad():
            hidden = self.snapshot.hidden(self.tasks)
            self._targets = {name: self._target(name, hyper, hidden) for name in hyper.separable_heads()}

    def _target(self, name: str, hyper: Hypernetwork, hidden: Tensor) -> Callable[[SeparableHead, Tensor], Tensor]:
        old = self.snapshot.separable_heads()[name]
        metric, outputs = Metric(self.inputs.get(name), self.positions.get(name)), self.outputs.get(name)
        rows_learned = hyper.separable_heads()[name].rows_learned
        if old.additive_parts() is not None and not rows_learned:
            return _SumTarget(old, hidden, metric, outputs)
        return _ProductTarget(old, hidden, metric, outputs, rows_learned=rows_learned)

    def __call__(self, hyper: Hypernetwork) -> Float[Tensor, ""]:
        """The penalty at the present parameters of `hyper`, without its factor lambda."""
        if not len(self.tasks):
            return hyper.embedding.new_zeros(())
        # weight differences are small: compute in float32, whatever precision the tail runs in
        with torch.autocast(hyper.embedding.device.type, enabled=False):
            return self._total(hyper)

    def _total(self, hyper: Hypernetwork) -> Tensor:
        total = hyper.embedding.new_zeros(())
        hidden = hyper.hidden(self.tasks)
        for name, head in hyper.separable_heads().items():
            total = total + self._targets[name](head, hidden)
        if self.rows:
            for name, table in hyper.task_tables().items():
                old = self.snapshot.task_tables()[name]
                total = total + sum(((table(int(j)) - old(int(j))) ** 2).sum() for j in self.tasks)
        return total * self.scale


class _ProductTarget:
    """What stays fixed of a head within an experience, and its share of the penalty.

    N = [dM, C] with C = [M*, M*] (only the columns whose row or task basis is being learned). `row_index` and
    `task_index` say, for each column of N, which columns of [u, du, u*] and of [t, dt] its code is made of. `row_gram`
    is there if no row basis is being learned.
    """

    def __init__(
        self, head: SeparableHead, hidden: Tensor, metric: Metric, outputs: Tensor | None, *, rows_learned: bool
    ) -> None:
        self.matrix, self.row, self.task, self.outputs = (
            head.matrix(),
            head.row_basis(),
            head.task_basis(hidden),
            outputs,
        )
        of_row, of_task = (head.row_index > 0) & rows_learned, head.task_index > 0
        self.constant = Constant.of(torch.cat((self.matrix[:, of_row], self.matrix[:, of_task]), dim=1), metric)
        r, t, size = head.row_index, head.task_index, self.row.shape[1]
        self.row_index = torch.cat((r, size + r[of_row], 2 * size + r[of_task] if rows_learned else r[of_task]))
        self.task_index = torch.cat((t, t[of_row], self.task.shape[1] + t[of_task]))
        self.row_gram = None if rows_learned else _pick(_gram(self.row, outputs), self.row_index)

    def __call__(self, head: SeparableHead, hidden: Tensor) -> Tensor:
        task = head.task_basis(hidden)
        task_gram = _pick(_gram(torch.cat((task, task - self.task), dim=1)), self.task_index)
        row_gram = self.row_gram
        if row_gram is None:
            row = head.row_basis()
            row_gram = _gram(torch.cat((row, row - self.row, self.row), dim=1), self.outputs)
            row_gram = _pick(row_gram, self.row_index)
        change = head.matrix() - self.matrix
        form: Tensor = ProductForm.apply(change, row_gram * task_gram, self.constant)  # type: ignore[no-untyped-call]
        return form


class _SumTarget:
    """The same for a head that adds a part of the row, with fixed vectors, and a part of the task: cheaper."""

    def __init__(self, head: SeparableHead, hidden: Tensor, metric: Metric, outputs: Tensor | None) -> None:
        self.hidden, (self.of_rows, self.of_tasks) = hidden, _additive_parts(head)
        self.constant = Constant.of(self.of_tasks[:, :-1], metric)
        gram = _gram(head.row_basis(), outputs)
        self.moments = RowGram(gram[0, 0], gram[0, 1:], gram[1:, 1:] * len(hidden))

    def __call__(self, head: SeparableHead, hidden: Tensor) -> Tensor:
        of_rows, of_tasks = _additive_parts(head)
        task = torch.cat((hidden, hidden.new_ones(len(hidden), 1), hidden - self.hidden), dim=1)
        form: Tensor = SumForm.apply(  # type: ignore[no-untyped-call]
            of_rows - self.of_rows, of_tasks - self.of_tasks, _gram(task), self.moments, self.constant
        )
        return form


def _additive_parts(head: SeparableHead) -> tuple[Tensor, Tensor]:
    parts = head.additive_parts()
    assert parts is not None
    return parts


def _gram(basis: Tensor, factor: Tensor | None = None) -> Tensor:
    return basis.T @ (basis if factor is None else factor @ basis)


def _pick(gram: Tensor, index: Tensor) -> Tensor:
    return gram.index_select(0, index).index_select(1, index)


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
