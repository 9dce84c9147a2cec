"""Heads of the hypernetwork: hidden units of a task -> the weights of one parameter tensor (appendix A).

Every head but the task table generates its tensor row by row from a *separable code*

    theta_jr = M (u_r * t_j),

where every column of the row code `u_r` is a column of the row's basis [1 ; e_r], every column of the task code `t_j`
one of the task's basis [1 ; h_j], `*` is the elementwise product and M is one learned matrix. The published
channel-wise head `W [h_j ; e_r] + b` is the code with u_r = [1 ; e_r ; 1] and t_j = [h_j ; 1 ; 1]. Separability is
what lets the penalty be summed over all tasks and rows in closed form (`hypertail.hyper.penalty`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hypertail.errors import check_choice
from hypertail.nets.adapter import shaped

CodeName = Literal["additive", "product"]
Vectors = Literal["orthogonal", "gaussian"]


class SeparableHead(nn.Module, ABC):
    """A head that generates `rows` rows of `features` numbers, theta_jr = M (u_r * t_j).

    `row_index` and `task_index` name, for each column of the code, the column of the row's and of the task's basis
    that it is made of; 0 is the constant.
    """

    rows: int
    features: int
    linear: nn.Linear
    row_index: Tensor
    task_index: Tensor

    def _set_code(self, row_index: list[int], task_index: list[int]) -> None:
        self.register_buffer("row_index", torch.tensor(row_index), persistent=False)
        self.register_buffer("task_index", torch.tensor(task_index), persistent=False)

    @property
    @abstractmethod
    def rows_learned(self) -> bool:
        """Whether the row basis is being learned."""

    @abstractmethod
    def row_basis(self) -> Float[Tensor, "rows basis"]:
        """[1 ; e_r] for every row."""

    @abstractmethod
    def task_basis(self, hidden: Float[Tensor, "tasks hidden"]) -> Float[Tensor, "tasks basis"]:
        """[1 ; h_j] for every task."""

    def matrix(self) -> Float[Tensor, "features code"]:
        """M = [W b]."""
        return torch.cat((self.linear.weight, self.linear.bias.unsqueeze(1)), dim=1)

    @abstractmethod
    def additive_parts(self) -> tuple[Tensor, Tensor] | None:
        """W_e (features, d) and [W_h b] (features, hidden + 1) if theta_jr = W_e e_r + [W_h b] [h_j ; 1], else None."""

    @abstractmethod
    def shape_rows(self, rows: Float[Tensor, "*tasks rows features"]) -> Tensor:
        """Rows -> the parameter tensor, with leading task dimensions kept."""

    @abstractmethod
    def generate(self, hidden: Float[Tensor, "*tasks hidden"]) -> Float[Tensor, "*tasks rows features"]:
        """The generated rows of each task."""

    def forward(self, hidden: Float[Tensor, "*tasks hidden"]) -> Tensor:
        """The generated tensor of each task, shape (*tasks, *shape)."""
        return self.shape_rows(self.generate(hidden))


class ChannelHead(SeparableHead):
    """Channel-wise head for a convolution (out, in, k, k) or the rows of a wide linear layer (out, in).

    Codes:
        additive: theta_jr = W [h_j ; e_r] + b, as published (section A.2). Tasks share every filter up to one shift.
        product: theta_jr = W_h h_j + W_e (e_r * (1 + P h_j)) + b: tasks also reweigh the shared dictionary W_e.

    Args:
        shape: of the generated tensor.
        hidden: size h of the hidden layer that feeds the heads.
        rank: size d of the learned vector e_r of each output channel.
        code: `additive` or `product`.
        vectors: the e_r start `gaussian`, from N(0, 1), or as `orthogonal` columns with the same mean square: then no
            direction of W_e is learned more slowly than another, where random vectors of nearly as many dimensions as
            channels make most directions slow.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        hidden: int,
        rank: int,
        code: CodeName = "additive",
        vectors: Vectors = "orthogonal",
    ) -> None:
        super().__init__()
        check_choice("code", code, get_args(CodeName))
        check_choice("channel vectors at the start", vectors, get_args(Vectors))
        self.shape, self.code, self.hidden, self.rank = shape, code, hidden, rank
        self.rows, self.features = shape[0], math.prod(shape[1:])
        table = torch.randn(self.rows, rank)
        if vectors == "orthogonal":
            table = nn.init.orthogonal_(table, gain=math.sqrt(max(self.rows, rank)))
        self.table = nn.Parameter(table)
        self.linear = nn.Linear(hidden + rank, self.features)
        self.modulation = nn.Linear(hidden, rank, bias=False) if code == "product" else None
        units, vector = list(range(1, hidden + 1)), list(range(1, rank + 1))
        reweighed = [hidden + column for column in vector] if code == "product" else [0] * rank
        self._set_code([0] * hidden + vector + [0], units + reweighed + [0])

    @property
    def rows_learned(self) -> bool:
        """Whether the channel vectors are being learned."""
        return self.table.requires_grad

    def row_basis(self) -> Float[Tensor, "rows basis"]:
        """[1 ; e_r]."""
        return torch.cat((self.table.new_ones(self.rows, 1), self.table), dim=1)

    def task_basis(self, hidden: Float[Tensor, "tasks hidden"]) -> Float[Tensor, "tasks basis"]:
        """[1 ; h_j], or [1 ; h_j ; 1 + P h_j] for the product code."""
        ones = hidden.new_ones(hidden.shape[0], 1)
        if self.modulation is None:
            return torch.cat((ones, hidden), dim=1)
        return torch.cat((ones, hidden, 1 + self.modulation(hidden)), dim=1)

    def additive_parts(self) -> tuple[Tensor, Tensor] | None:
        """W_e and [W_h b] for the additive code."""
        if self.modulation is not None:
            return None
        weight_h, weight_e = self.linear.weight.split((self.hidden, self.rank), dim=1)
        return weight_e, torch.cat((weight_h, self.linear.bias.unsqueeze(1)), dim=1)

    def shape_rows(self, rows: Float[Tensor, "*tasks rows features"]) -> Tensor:
        """Rows are stored as (kernel positions, in)."""
        return shaped(rows, self.shape)

    def generate(self, hidden: Float[Tensor, "*tasks hidden"]) -> Float[Tensor, "*tasks rows features"]:
        """The rows, without building the constant columns of the code; what tasks share is computed once."""
        weight_h, weight_e = self.linear.weight.split((self.hidden, self.rank), dim=1)
        shift = nn.functional.linear(hidden, weight_h, self.linear.bias).unsqueeze(-2)
        if self.modulation is not None:
            code: Tensor = self.table * (1 + self.modulation(hidden)).unsqueeze(-2)
            reweighed: Tensor = code @ weight_e.T
            return shift + reweighed
        if math.prod(hidden.shape[:-1]) > 1:
            shared: Tensor = self.table @ weight_e.T
            return shift + shared
        # one product instead of a sum: its gradient needs no sum over rows, which is slow
        factors = torch.cat((weight_e.T, shift.view(1, -1)))
        rows: Tensor = self.row_basis().roll(-1, dims=1) @ factors
        return rows.view(*hidden.shape[:-1], *rows.shape)


class LinearHead(SeparableHead):
    """Linear head for the classifier weight: one linear layer h -> out·in (section A.1)."""

    def __init__(self, shape: tuple[int, ...], hidden: int) -> None:
        super().__init__()
        self.shape, self.rows, self.features = shape, 1, math.prod(shape)
        self.linear = nn.Linear(hidden, self.features)
        self._set_code([0] * (hidden + 1), [*range(1, hidden + 1), 0])

    @property
    def rows_learned(self) -> bool:
        """Never: the one row has no vector."""
        return False

    def row_basis(self) -> Float[Tensor, "rows basis"]:
        """[1]: there is one row."""
        return self.linear.weight.new_ones(1, 1)

    def task_basis(self, hidden: Float[Tensor, "tasks hidden"]) -> Float[Tensor, "tasks basis"]:
        """[1 ; h_j]."""
        return torch.cat((hidden.new_ones(hidden.shape[0], 1), hidden), dim=1)

    def additive_parts(self) -> tuple[Tensor, Tensor] | None:
        """No vectors, and all of the matrix."""
        return self.linear.weight.new_empty(self.features, 0), self.matrix()

    def shape_rows(self, rows: Float[Tensor, "*tasks rows features"]) -> Tensor:
        """One row -> the whole tensor."""
        return rows.reshape(*rows.shape[:-2], *self.shape)

    def generate(self, hidden: Float[Tensor, "*tasks hidden"]) -> Float[Tensor, "*tasks rows features"]:
        """The one row of each task."""
        return nn.functional.linear(hidden, self.linear.weight, self.linear.bias).unsqueeze(-2)


class TaskTable(nn.Module):
    """Task table for a 1-D parameter (norm scale or shift, bias): one learned row per task.

    Rows are separate parameters: a row never influences another task, so only the current one is trained and the
    step costs the same whatever the number of tasks.

    Args:
        start: what every row is before it is learned; a vector.
        tasks: number of rows.
    """

    start: Tensor

    def __init__(self, start: Float[Tensor, " size"], tasks: int) -> None:
        super().__init__()
        self.register_buffer("start", start.detach().clone(), persistent=False)
        self.rows = nn.ParameterList()
        self.grow(tasks)

    def grow(self, tasks: int) -> None:
        """Append rows until there are `tasks`."""
        while len(self.rows) < tasks:
            self.rows.append(nn.Parameter(self.start.clone()))

    def forward(self, task: int) -> Float[Tensor, " size"]:
        """The row of one task."""
        row: Tensor = self.rows[task]
        return row
