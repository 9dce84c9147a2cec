"""Bytes that a finished run would keep after more tasks of the same kind."""

from __future__ import annotations

from functools import lru_cache

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.library import FinishedRun
from hypertail.lab.experiments.sizes import describe


def bytes_a_task(run: FinishedRun) -> float:
    """What was kept between tasks, the frozen part excepted, divided by the number of tasks."""
    return run.run.bytes_kept / len(run.run.tasks)


def bytes_after(run: FinishedRun, tasks: int) -> float | None:
    """What is kept after so many tasks: what the run kept, and for each further task what one more takes.

    A hypernetwork has room for all tasks of its stream from the start: what one more takes is counted as in Table 6 and
    `hypertail info`, of everything else it is what the run was seen to add. None where a run of one task does not tell.
    """
    learned = len(run.run.tasks)
    if tasks == learned:
        return run.run.bytes_kept
    more = _counted(run) if run.run.hypernetwork_parameters is not None else _seen(run)
    return None if more is None else run.run.bytes_kept + (tasks - learned) * more


def _seen(run: FinishedRun) -> float | None:
    sizes = run.run.bytes_per_experience
    return None if len(sizes) < 2 else (sizes[-1] - sizes[0]) / (len(sizes) - 1)


def _counted(run: FinishedRun) -> float:
    width = run.config.options.get("head_width") or max(len(task.classes) for task in run.run.tasks)
    return hypernetwork_bytes(run.config, width, 2) - hypernetwork_bytes(run.config, width, 1)


@lru_cache(maxsize=256)
def hypernetwork_bytes(config: RunConfig, classes: int, tasks: int) -> int:
    """Hypernetwork and normalisation statistics, as `hypertail info` counts them, curvature left out: it does not grow.

    Args:
        config: of a run of a hypernetwork.
        classes: that are generated for each task.
        tasks: learned.
    """
    counted = describe(config.depth or 0, tasks=tasks, classes=classes, options=config.options, model=config.model)
    return counted.hypernetwork_bytes + counted.statistics_bytes
