"""Method `head`: a linear classifier on what the frozen model gives."""

from __future__ import annotations

import torch

from hypertail.bank.backbone import Backbone
from hypertail.bank.methods.method import Method
from hypertail.nets.task_tail import SharedWeights, TaskTail


class HeadMethod(Method):
    """The body stays as it is, statistics too; a task owns a head.

    Args:
        rate: learning rate.
    """

    name = "head"
    what = "a linear classifier on the frozen model"
    learns_body = False

    def __init__(self, rate: float = 1e-2) -> None:
        self.rates = {"weights": rate, "head": rate}

    def begin(self, backbone: Backbone, classes: int, generator: torch.Generator) -> TaskTail:
        """The body itself and a head."""
        return TaskTail(backbone.body, SharedWeights(), backbone.width, classes, own_statistics=False)
