"""Peak memory of a step, measured in a process of its own."""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from hypertail.lab.benchmark.modes import Model
from hypertail.lab.benchmark.subjects import build_subject
from hypertail.training.precision import Precision

STEPS = 3


@dataclass(frozen=True)
class PeakMemory:
    """Peak resident bytes of a process that took a few steps; `baseline` of it were needed to import the libraries."""

    peak: int
    baseline: int

    @property
    def added(self) -> int:
        """What data, model and steps needed on top of Python and torch."""
        return self.peak - self.baseline

    def to_json(self) -> dict[str, int]:
        """In bytes, by name."""
        return {"peak_bytes": self.peak, "baseline_bytes": self.baseline, "added_bytes": self.added}


def peak_memory(mode: str, model: Model, *, tasks: int, batch: int, precision: Precision = "full") -> PeakMemory:
    """Bring one subject to its last experience and take three steps on the CPU, in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(_measure, mode, model, tasks, batch, precision, torch.get_num_threads()).result()


def _measure(mode: str, model: Model, tasks: int, batch: int, precision: Precision, threads: int) -> PeakMemory:
    torch.set_num_threads(threads)
    baseline = peak_resident()
    subject = build_subject(mode, model, tasks=tasks, batch=batch, device=torch.device("cpu"), precision=precision)
    for _ in range(STEPS):
        subject.step()
    return PeakMemory(peak_resident(), baseline)


def peak_resident() -> int:
    """The largest resident size of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():
        # ru_maxrss of a new process starts at the size of its parent on Linux; this figure starts afresh
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource  # absent on Windows

    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024
