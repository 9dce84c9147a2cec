"""Method `hypernet`: a shared hypernetwork adds to the body's weights, each task owns an embedding and an adapter."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from hypertail.bank.backbone import Backbone
from hypertail.bank.methods.method import Method, rate_for
from hypertail.hyper.generated import GeneratedWeights, shared_hypernetwork, shared_parameters
from hypertail.hyper.hypernetwork import Hypernetwork
from hypertail.nets.compact import round_to_half
from hypertail.nets.task_tail import TaskTail
from hypertail.seeds import seeded


class HypernetMethod(Method):
    """Generated weights on top of the body's own (`GeneratedWeights`).

    Sealed, the hypernetwork learns with the first task of the bank that uses it, and is fixed from then on: a later
    task cannot change an earlier one.

    Args:
        hyper: what tasks share; None to begin one.
        rank: of each task's adapter.
        rate: learning rate of what belongs to the task; None for what suits the body (`rate_for`).
        head_rate: learning rate of the head.
        shared_rate: learning rate of the hypernetwork while it learns.
        embedding: size of a task's embedding, where the hypernetwork is begun.
        code: rank of the hypernetwork's heads, where it is begun.
        sealed: whether a hypernetwork that is there stays fixed.
    """

    name = "hypernet"
    what = "weights from a shared hypernetwork, with an embedding and an adapter of the task's own"

    def __init__(
        self,
        hyper: Hypernetwork | None = None,
        *,
        rank: int = 4,
        rate: float | None = None,
        head_rate: float = 1e-2,
        shared_rate: float = 1e-4,
        embedding: int = 32,
        code: int = 16,
        sealed: bool = True,
    ) -> None:
        self.hyper, self.rank, self.embedding, self.code = hyper, rank, embedding, code
        self.learns_shared = hyper is None or not sealed
        self.rate, self.rates = rate, {"head": head_rate, "shared": shared_rate}

    def begin(self, backbone: Backbone, classes: int, generator: torch.Generator) -> TaskTail:
        """The body and what the hypernetwork adds, which is nothing where it is new."""
        self.rates = {**self.rates, "weights": rate_for(backbone.body, 1e-2) if self.rate is None else self.rate}
        if self.hyper is None:
            with seeded(int(generator.initial_seed()), "hypernetwork"):
                self.hyper = shared_hypernetwork(backbone.body, embedding=self.embedding, rank=self.code)
            self.hyper.to(next(backbone.body.parameters()).device)
        weights = GeneratedWeights(backbone.body, self.hyper, self.rank, generator)
        return TaskTail(backbone.body, weights, backbone.width, classes)

    def groups(self, tail: TaskTail) -> dict[str, dict[str, nn.Parameter]]:
        """The task's own, and the shared parameters while they learn."""
        groups = super().groups(tail)
        if self.hyper is not None and self.learns_shared:
            groups["shared"] = {f"shared.{name}": value for name, value in shared_parameters(self.hyper).items()}
        return groups

    def settle(self) -> None:
        """Round the shared parameters to half precision, where they learned."""
        if self.hyper is not None and self.learns_shared:
            self.hyper.requires_grad_(False)
            round_to_half(self.hyper)

    def settings(self) -> dict[str, Any]:
        """Ranks and sizes."""
        return {"rank": self.rank, "embedding": self.embedding, "code": self.code}
