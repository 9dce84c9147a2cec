"""Finished runs of given configurations, made up, for tests of reproduced figures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.library import FinishedRun
from hypertail.lab.records.runfile import Curve
from support.sample_runs import sample_run

LENGTHS = {"split-cifar100": 20, "noisy-cifar100": 4, "noisy-cifar100-clean": 4, "digits": 5}


def finished(config: RunConfig, directory: Path = Path("nowhere")) -> FinishedRun:
    """A plausible run of `config`, with curves and cosines if it was to record them."""
    n = config.experiences or LENGTHS.get(config.stream, 2)
    depth = (
        (config.depth or 0) + (config.seed << 3) + sum(map(ord, config.stream + str(config.options.get("lookahead"))))
    )
    run = sample_run(config.strategy, {"replay": 2, "hn": 2}.get(config.strategy), n=n, seed=depth)
    R = run.matrix
    curves = ()
    if config.eval_every:
        # halfway between what was measured before and after
        curves = tuple(
            Curve(task, epoch, (*(float(R[task - 1, j] + R[task, j]) / 2 for j in range(task)), 0.5))
            for task in range(1, n)
            for epoch in range(config.eval_every, config.epochs, config.eval_every)
        )
    recorded = (
        [-0.5 + 0.001 * step for step in range(40 * config.epochs)] if config.options.get("record_cosine") else []
    )
    run = replace(
        run,
        stream=config.stream,
        strategy=config.strategy,
        depth=config.depth_name,
        label=config.label,
        preset=config.preset,
        seed=config.seed,
        epochs=config.epochs,
        config=config.to_json(),
        curves=curves,
        extra={"diagnostics": {"cosine": recorded}} if recorded else {},
    )
    return FinishedRun(run, config, directory)


def all_finished(configs: Iterable[RunConfig]) -> list[FinishedRun]:
    """One for each configuration."""
    return [finished(config) for config in configs]
