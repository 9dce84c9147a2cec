"""What a run measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


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
