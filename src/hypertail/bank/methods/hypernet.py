"""Method `hypernet`: a shared hypernetwork adds to the body's weights, each task owns an embedding and an adapter."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

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
        sealed: whether a hypernetwork that is there stays fixed. Otherwise it goes on learning with every task, and
            a penalty (Eq. 7) holds what it generates for earlier ones, as far as it can: give `learn` a budget.
        penalty_weight: lambda of that penalty.
        earlier: the embeddings of earlier tasks, (tasks, embedding), for that penalty.
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
        penalty_weight: float = 1.0,
        earlier: Tensor | None = None,
    ) -> None:
        if hyper is not None and not sealed:
            hyper = copy.deepcopy(hyper).requires_grad_(True)
        self.penalty_weight, self.earlier = penalty_weight, earlier
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

    def penalty(self) -> Callable[[], Tensor] | None:
        """lambda sum_j ||H*(e_j) - H(e_j)||^2 over earlier tasks, H* as it is now; None where it stays fixed."""
        hyper, earlier = self.hyper, self.earlier
        if hyper is None or earlier is None or not self.learns_shared or not len(earlier):
            return None
        heads = hyper.separable_heads()
        with torch.no_grad():
            wanted = {name: head(hyper.mlp(earlier)) for name, head in heads.items()}

        def penalty() -> Tensor:
            hidden = hyper.mlp(earlier)
            changes = [(head(hidden) - wanted[name]).square().sum() for name, head in heads.items()]
            return self.penalty_weight * torch.stack(changes).sum()

        return penalty

    def settle(self) -> None:
        """Round the shared parameters to half precision, where they learned."""
        if self.hyper is not None and self.learns_shared:
            self.hyper.requires_grad_(False)
            round_to_half(self.hyper)

    def settings(self) -> dict[str, Any]:
        """Ranks and sizes."""
        return {"rank": self.rank, "embedding": self.embedding, "code": self.code}
