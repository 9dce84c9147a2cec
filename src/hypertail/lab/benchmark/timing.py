"""Timing of several steps side by side, so that the noise of the machine falls on all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

LEAST_ROUNDS = 3


@dataclass(frozen=True)
class Timing:
    """Median and quartiles of `n` samples, in seconds."""

    median: float
    q1: float
    q3: float
    n: int

    @classmethod
    def of(cls, samples: Sequence[float]) -> Timing:
        """The summary of some samples."""
        q1, median, q3 = (float(value) for value in np.percentile(samples, (25, 50, 75)))
        return cls(median, q1, q3, len(samples))

    def to_json(self) -> dict[str, float | int]:
        """By name."""
        return {"median": self.median, "q1": self.q1, "q3": self.q3, "n": self.n}


def timed(step: Callable[[], object]) -> float:
    """Wall-clock seconds of one call, whatever it queued on a GPU included."""
    started = time.perf_counter()
    step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def interleaved(
    steps: Mapping[str, Callable[[], object]], *, rounds: int, slice_seconds: float, budget: float
) -> dict[str, Timing]:
    """Time `steps` in turn, round after round: A A A B C C A A A B C C ...

    In each round a step is called for about `slice_seconds`, at least once: quick steps give more samples than slow
    ones. Where a turn has several calls, a first one warms the caches again and is not counted.

    Args:
        steps: by name.
        rounds: how often each has its turn, if the budget allows.
        slice_seconds: of each step in each round.
        budget: seconds after which no further round begins, once there were three.
    """
    calls = {}
    for name, step in steps.items():
        step()
        calls[name] = max(1, min(200, int(slice_seconds / timed(step))))
    samples: dict[str, list[float]] = {name: [] for name in steps}
    started = time.perf_counter()
    for number in range(rounds):
        if number >= LEAST_ROUNDS and time.perf_counter() - started > budget:
            break
        for name, step in steps.items():
            if calls[name] > 1:
                step()
            samples[name] += [timed(step) for _ in range(calls[name])]
    return {name: Timing.of(own) for name, own in samples.items()}
