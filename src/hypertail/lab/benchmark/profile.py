"""Where the time of a step goes: its operators, by the time that each spends itself."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from hypertail.training.precision import Precision

STEPS, WARM_UP = 20, 3
SHOWN = 20
"""Operators that are named; the rest is one sum."""
OTHER, BETWEEN = "other operators", "between operators: Python, and the profiler itself"


@dataclass(frozen=True)
class Operator:
    """An operator of torch: seconds in it (not in operators that it calls) and calls, both per step."""

    name: str
    seconds: float
    calls: float

    def to_json(self) -> dict[str, str | float]:
        """By name."""
        return {"name": self.name, "seconds": self.seconds, "calls": self.calls}


@dataclass(frozen=True)
class Profile:
    """The operators of a tuned step, most time first, then what is left; their seconds add up to a step's.

    Attributes:
        model: label.
        precision: of the step.
        seconds: wall-clock, per step; more than without the profiler.
        operators: where they went; on a GPU its own seconds.
    """

    model: str
    precision: Precision
    seconds: float
    operators: tuple[Operator, ...]

    @property
    def title(self) -> str:
        """For its table."""
        return (
            f"profile of a tuned step of {self.model} ({self.precision}): {1000 * self.seconds:.1f} ms under "
            f"the profiler, mean of {STEPS}; time in each operator itself"
        )

    def share(self, operator: Operator) -> float:
        """The operator's part of the step."""
        return operator.seconds / self.seconds

    def to_json(self) -> dict[str, Any]:
        """By name."""
        return {
            "model": self.model,
            "mode": "tuned",
            "precision": self.precision,
            "steps": STEPS,
            "seconds_per_step": self.seconds,
            "operators": [operator.to_json() | {"share": self.share(operator)} for operator in self.operators],
        }


def profile_step(step: Callable[[], object], model: str, precision: Precision, device: torch.device) -> Profile:
    """Take some steps under torch's profiler.

    Args:
        step: the tuned step.
        model: its label.
        precision: at which `step` runs.
        device: where.
    """
    # or it writes lines of its own to the terminal
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    for _ in range(WARM_UP):
        step()
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as recorded:
        started = time.perf_counter()
        for _ in range(STEPS):
            step()
        if on_gpu:
            torch.cuda.synchronize()
        seconds = (time.perf_counter() - started) / STEPS
    operators = [
        Operator(
            event.key,
            (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e6 / STEPS,
            event.count / STEPS,
        )
        for event in recorded.key_averages()
    ]
    return Profile(model, precision, seconds, summed(operators, seconds))


def summed(operators: list[Operator], seconds: float) -> tuple[Operator, ...]:
    """The slowest `SHOWN`, the sum of the others, and what no operator accounts for of `seconds`."""
    ordered = sorted(operators, key=lambda operator: operator.seconds, reverse=True)
    named, others = ordered[:SHOWN], ordered[SHOWN:]
    rest = Operator(OTHER, sum(other.seconds for other in others), sum(other.calls for other in others))
    between = seconds - sum(operator.seconds for operator in ordered)
    return (*named, rest, Operator(BETWEEN, max(0.0, between), 0.0))
