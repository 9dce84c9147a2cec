"""What a run measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hypertail.strategies.strategy import below

_MEASURED = ("seconds", "seconds_per_experience", "bytes_per_experience", "losses", "curves")
_RECORDED = "recorded."


@dataclass
class Result:
    """Accuracies, times, sizes and losses of a run.

    Attributes:
        accuracy: R (N, N), R[i, j] = accuracy on e_j after learning e_i; NaN where not measured.
        seconds: wall-clock seconds by phase: features, training, evaluation.
        seconds_per_experience: wall-clock seconds of each experience, all phases.
        bytes_per_experience: bytes kept after each experience.
        losses: mean training loss of each epoch of each experience.
        curves: accuracies within experiences, if asked for.
        changed: share of the answers to the test images of each experience, 0..1, that are no longer those given right
            after it was learned; None where those are unknown; none where all experiences are learned at once.
        recorded: what the strategy recorded step by step (`Strategy.diagnostics`), also before the run was resumed.
    """

    accuracy: Tensor
    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("features", "training", "evaluation"), 0.0)
    )
    seconds_per_experience: list[float] = field(default_factory=list)
    bytes_per_experience: list[int] = field(default_factory=list)
    losses: list[list[float]] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)
    changed: list[float | None] = field(default_factory=list)
    recorded: dict[str, list[float]] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """What a checkpoint says of it as JSON."""
        return {name: getattr(self, name) for name in (*_MEASURED, "changed")}

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds of it as tensors."""
        recorded = {name: torch.tensor(values, dtype=torch.float64) for name, values in self.recorded.items()}
        return {"accuracy": self.accuracy, **{f"{_RECORDED}{name}": values for name, values in recorded.items()}}

    def take(self, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take over what a checkpoint says, accuracies apart; older ones say neither `changed` nor `recorded`."""
        for name in _MEASURED:
            setattr(self, name, facts[name])
        self.changed = facts.get("changed", [])
        self.recorded = {name: values.tolist() for name, values in below(_RECORDED, tensors).items()}
