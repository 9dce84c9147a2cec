"""Task-specific low-rank adapters: a small part of a weight that belongs to one task alone."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class TaskAdapters(nn.Module):
    """What a task adds to the rows of a channel-wise head, in a canonical polyadic form of rank q:

        R_j[o, (t, i)] = sum_c U_j[o, c] T_j[c, t] A_j[c, i],

    output channels by kernel positions by input channels (Kolda & Bader, 2009): as a branch beside the convolution, a
    1x1 convolution to q channels, one filter for each and a 1x1 convolution back. Factors of a task are its own, so
    that nothing learned later moves them and no penalty has to hold them.

    Args:
        shape: of the generated tensor, (out, in, k, k) or (out, in).
        tasks: how many tasks there is room for (see `grow`).
        rank: q.
    """

    def __init__(self, shape: tuple[int, ...], tasks: int, rank: int) -> None:
        super().__init__()
        self.out, self.channels, self.positions, self.rank = shape[0], shape[1], math.prod(shape[2:]), rank
        self.outputs, self.inputs, self.filters = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        self.grow(tasks)

    def grow(self, tasks: int) -> None:
        """Append factors until there are those of `tasks` tasks; they are zero until `begin`."""
        like = self.outputs[0] if len(self.outputs) else torch.zeros(())
        for factors, shape in (
            (self.outputs, (self.out, self.rank)),
            (self.inputs, (self.rank, self.channels)),
            (self.filters, (self.rank, self.positions)),
        ):
            while len(factors) < tasks:
                factors.append(nn.Parameter(like.new_zeros(shape)))

    def of_task(self, task: int) -> dict[str, nn.Parameter]:
        """The three factors of a task, by name."""
        return {"outputs": self.outputs[task], "inputs": self.inputs[task], "filters": self.filters[task]}

    @torch.no_grad()
    def begin(self, task: int, generator: torch.Generator) -> None:
        """Start a task: U_j = 0, so that it adds nothing yet, and random A_j and T_j of unit gain."""
        inputs, filters = self.inputs[task], self.filters[task]
        scale = 1 / math.sqrt(self.channels * self.positions)
        inputs.copy_(torch.randn(inputs.shape, generator=generator) * scale)
        filters.copy_(torch.randn(filters.shape, generator=generator))
        self.outputs[task].zero_()

    def forward(self, task: int) -> Float[Tensor, "rows features"]:
        """The rows that the task adds; a row is stored as (kernel positions, in), like those of the head."""
        directions = self.filters[task].unsqueeze(2) * self.inputs[task].unsqueeze(1)
        rows: Tensor = self.outputs[task] @ directions.flatten(1)
        return rows


def shaped(rows: Float[Tensor, "*tasks rows features"], shape: tuple[int, ...]) -> Tensor:
    """Rows stored as (kernel positions, in) -> a weight (out, in, *kernel), with leading task dimensions kept.

    A generated filter then already lies channels-last in memory.
    """
    out, channels, *kernel = shape
    return rows.reshape(*rows.shape[:-2], out, *kernel, channels).movedim(-1, -1 - len(kernel))
