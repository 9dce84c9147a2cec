"""The contract of a method: how the tail of a task begins, and how fast its parts learn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hypertail.bank.backbone import Backbone
from hypertail.nets.task_tail import TaskTail


class Method(ABC):
    """What a task owns of the body.

    Attributes:
        name: as the user writes it.
        what: one sentence.
        rates: learning rate of each group of parameters that `groups` gives.
        learns_body: whether anything but the head depends on the task; otherwise vectors are computed once.
    """

    name: ClassVar[str]
    what: ClassVar[str]
    rates: Mapping[str, float]
    learns_body: ClassVar[bool] = True

    @abstractmethod
    def begin(self, backbone: Backbone, classes: int, generator: torch.Generator) -> TaskTail:
        """A tail that gives what the body gives, with a head of zeros."""

    def groups(self, tail: TaskTail) -> dict[str, dict[str, nn.Parameter]]:
        """The parameters that learn, by group and name."""
        return {
            "weights": {f"weights.{name}": value for name, value in tail.weights.named_parameters()},
            "head": {f"head.{name}": value for name, value in tail.head.named_parameters()},
        }

    def penalty(self) -> Callable[[], Tensor] | None:
        """What is added to the loss of each step, for the sake of earlier tasks; None for nothing."""
        return None

    def settle(self) -> None:  # noqa: B027 -- most methods share nothing that learns
        """Bring what tasks share to the form in which it is stored, once a task was learned."""

    def settings(self) -> dict[str, Any]:
        """What a bank must keep to make the same tail again, as JSON can hold it."""
        return {}


def rate_for(body: nn.Module, usual: float) -> float:
    """A learning rate for what belongs to a body.

    It was measured on bodies with batch normalisation, which takes large steps; others, transformers among them, learn
    at a fifth of it.
    """
    return usual if any(isinstance(layer, _BatchNorm) for layer in body.modules()) else usual / 5
