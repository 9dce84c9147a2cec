"""Method `separate`: every task has a body of its own, begun from the pretrained one."""

from __future__ import annotations

import torch

from hypertail.bank.backbone import Backbone
from hypertail.bank.methods.method import Method, rate_for
from hypertail.nets.task_tail import StoredWeights, TaskTail


class SeparateMethod(Method):
    """All weights above the cut are fine-tuned and stored.

    Args:
        rate: learning rate of the body; None for what suits it (`rate_for`).
        head_rate: learning rate of the head.
    """

    name = "separate"
    what = "a fine-tuned copy of everything above the cut"

    def __init__(self, rate: float | None = None, head_rate: float = 1e-2) -> None:
        self.rate, self.rates = rate, {"head": head_rate}

    def begin(self, backbone: Backbone, classes: int, generator: torch.Generator) -> TaskTail:
        """A copy of the body."""
        rates = {"weights": rate_for(backbone.body, 3e-3) if self.rate is None else self.rate}
        self.rates = {**self.rates, **rates}
        return TaskTail(backbone.body, StoredWeights(backbone.body), backbone.width, classes)
