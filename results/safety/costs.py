"""What saving costs, and whether a run of 200 experiences keeps memory and open files as they were.

python results/safety/costs.py [OUT.json]
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from trials import write

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.place import stream_of
from hypertail.lab.experiments.run import strategy_of
from hypertail.lab.experiments.trunks import untrained_trunk
from hypertail.training import within
from hypertail.training.interval import Interval
from hypertail.training.trainer import Trainer
from support.tiny import build, tiny_stream

INTERVAL = 300.0


def saving(strategy: str, depth: int | None) -> dict[str, float]:
    """Seconds of a saving within an experience of Split-CIFAR100's shapes, and its share of the default interval."""
    config = RunConfig("digits", strategy, depth=depth, epochs=2, experiences=3, image_size=16)
    stream = stream_of(config)
    trunk, tail = untrained_trunk(config, stream, torch.device("cpu")) if depth else (None, None)
    taken: list[float] = []
    real = within.save_checkpoint

    def timed(*args: Any) -> None:
        started = time.perf_counter()
        real(*args)
        taken.append(time.perf_counter() - started)

    within.save_checkpoint = timed
    with tempfile.TemporaryDirectory() as folder:
        learner = strategy_of(config, stream, trunk, "cpu", tail)
        path = Path(folder) / "checkpoint.safetensors"
        Trainer(stream, learner, epochs=2, checkpoint=path, save_every=Interval(1e-6, "s")).run()
        size = path.stat().st_size
    within.save_checkpoint = real
    median = statistics.median(taken)
    return {"seconds": median, "share of five minutes": median / INTERVAL, "bytes": size, "savings": len(taken)}


def long_run(count: int) -> list[dict[str, int]]:
    """Resident memory, in bytes, and open files of a run after 20, 40, ... experiences."""
    rows: list[dict[str, int]] = []

    def learned(task: int, accuracies: torch.Tensor) -> None:
        if (task + 1) % 20 == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            rows.append(
                {
                    "experiences": task + 1,
                    "resident": pages * resource.getpagesize(),
                    "open files": len(os.listdir("/proc/self/fd")),
                }
            )

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"
        stream = tiny_stream(count, per_class=6)
        Trainer(stream, build("hn", tasks=count), epochs=1, batch_size=8, checkpoint=path, learned=learned).run()
    return rows


def main(out: str) -> None:
    """Measure both."""
    torch.set_num_threads(1)
    names = (("hn", 3), ("hn", 2), ("replay", 2), ("separate", 2), ("ewc", None), ("adapter", 3))
    savings = {f"{name}-{depth}" if depth else name: saving(name, depth) for name, depth in names}
    write(out, {"savings": savings, "long run": long_run(200)})


if __name__ == "__main__":
    main((sys.argv[1:] or ["costs.json"])[0])
