"""Method `adapter`: scales, shifts, statistics and a low-rank change of every weight belong to the task."""

from __future__ import annotations

from typing import Any

import torch

from hypertail.bank.backbone import Backbone
from hypertail.bank.methods.method import Method, rate_for
from hypertail.nets.task_tail import AdaptedWeights, TaskTail


class AdapterMethod(Method):
    """Adapters on the frozen body (`AdaptedWeights`).

    Args:
        rank: of the change of each weight; 0 for none.
        rate: learning rate of what belongs to the body; None for what suits it (`rate_for`).
        head_rate: learning rate of the head.
    """

    name = "adapter"
    what = "low-rank adapters, norm scales, shifts and statistics, and a head"

    def __init__(self, rank: int = 8, rate: float | None = None, head_rate: float = 1e-2) -> None:
        self.rank, self.rate, self.rates = rank, rate, {"head": head_rate}

    def begin(self, backbone: Backbone, classes: int, generator: torch.Generator) -> TaskTail:
        """The body with adapters that add nothing yet."""
        rates = {"weights": rate_for(backbone.body, 1e-2) if self.rate is None else self.rate}
        self.rates = {**self.rates, **rates}
        weights = AdaptedWeights(backbone.body, self.rank, generator)
        return TaskTail(backbone.body, weights, backbone.width, classes)

    def settings(self) -> dict[str, Any]:
        """The rank."""
        return {"rank": self.rank}
