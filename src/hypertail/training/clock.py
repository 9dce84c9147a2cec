"""Seconds by phase of a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from hypertail.training.result import Result


class Clock:
    """Adds the seconds of phases to a result.

    Args:
        result: whose `seconds` are added to.
        device: waited for at the end of a phase.
        saved: seconds of features that another run has computed: they count as if this one had, since seconds are
            those of the run by itself.
    """

    def __init__(self, result: Result, device: torch.device, saved: Callable[[], float]) -> None:
        self.result, self._device, self._saved = result, device, saved
        self._phase, self._began = "", 0.0

    def now(self) -> float:
        """Seconds from some beginning."""
        return time.perf_counter() + self._saved()

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Within it the seconds are those of a phase; phases do not lie in each other."""
        self._phase, self._began = phase, self.now()
        yield
        self.result.seconds, self._phase = self.so_far(), ""

    def so_far(self) -> dict[str, float]:
        """The seconds of each phase, with those that the present one has taken."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        seconds = dict(self.result.seconds)
        if self._phase:
            seconds[self._phase] += self.now() - self._began
        return seconds
