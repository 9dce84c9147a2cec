"""Plausible finished runs, made up, for tests of tables, figures and reports."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hypertail.lab.records.runfile import Curve, RunFile, TaskInfo, accuracy_rows
from hypertail.recipes.catalogue import label_for

# strategy, depth: accuracy right after learning, lost at once, lost per later experience, seconds, bytes
_PLAUSIBLE: dict[tuple[str, int | str | None], tuple[float, float, float, float, int]] = {
    ("naive", None): (0.86, 0.25, 0.12, 180.0, 0),
    ("ewc", None): (0.80, 0.22, 0.10, 260.0, 8_920_000),
    ("replay", 2): (0.87, 0.10, 0.06, 210.0, 8_192_000),
    ("hn", 2): (0.80, 0.01, 0.003, 640.0, 2_464_088),
    ("hn", "full"): (0.78, 0.015, 0.004, 1210.0, 3_077_508),
    ("separate", 3): (0.85, 0.0, 0.0, 190.0, 66_000_000),
    ("joint", None): (0.84, 0.0, 0.0, 900.0, 0),
}
STRATEGIES = tuple(_PLAUSIBLE)
USUAL = STRATEGIES[:-1]


def sample_run(
    strategy: str = "hn",
    depth: int | str | None = 3,
    *,
    n: int = 5,
    seed: int = 0,
    stream: str = "split-cifar100",
) -> RunFile:
    """One made-up run over `n` experiences of five classes."""
    top, at_once, later, seconds, kept = _PLAUSIBLE.get((strategy, depth), _PLAUSIBLE["hn", 2])
    rng = np.random.default_rng([seed, n, len(strategy), *map(ord, strategy)])
    R = np.full((n, n), np.nan)
    for j in range(n):
        start = top + (0.04 if j == 0 else 0.0) + rng.normal(0, 0.03)
        for i in range(j, n):
            lost = 0.0 if i == j else at_once + later * (i - j)
            R[i, j] = np.clip(max(start - lost, 0.22) + rng.normal(0, 0.004 if lost < 0.1 else 0.02), 0, 1)
    if strategy == "joint":
        R[:-1] = np.nan
        R[-1] = np.clip(top + rng.normal(0, 0.03, n), 0, 1)
    if strategy == "separate":
        R = np.where(np.isnan(R), np.nan, np.diag(R)[None, :])
    phases = {"trunk": 0.2, "features": 0.05, "training": 0.65, "evaluation": 0.1}
    generated = kept // 4 if strategy == "hn" else None
    return RunFile(
        stream=stream,
        strategy=strategy,
        depth=depth,
        label=label_for(strategy, depth),
        preset="tuned",
        seed=seed,
        epochs=10,
        config={"seed": seed, "out": f"runs/{seed}", "optimizer": {"lr": 1e-3}, "penalty": {"weight": 0.03}},
        tasks=tuple(
            TaskInfo(f"classes {5 * j}-{5 * j + 4}", tuple(f"class {5 * j + c}" for c in range(5)), 2500, 500)
            for j in range(n)
        ),
        accuracy=accuracy_rows(R),
        seconds=seconds * n / 20 + seed,
        seconds_by_phase={name: share * seconds * n / 20 for name, share in phases.items()},
        seconds_per_experience=tuple(seconds / 20 for _ in range(n)),
        bytes_kept=kept,
        bytes_kept_parts={"hypernetwork": kept} if strategy == "hn" else {"other": kept},
        bytes_per_experience=tuple(kept // n * (j + 1) for j in range(n)),
        hypernetwork_parameters=generated,
        parameters={"trunk": 70_000, "tail": 1_020_000},
        versions={"hypertail": "0.1.0", "torch": "2.13.0", "python": "3.11.9"},
        hardware={
            "device": "cpu",
            "cpu": "Example CPU",
            "cores": 2,
            "threads": 2,
            "memory_bytes": 8_000_000_000,
        },
        command=f"hypertail run --stream {stream} --strategy {strategy} --seed {seed}",
        started="2026-01-05T09:00:00+00:00",
        curves=(Curve(0, 1, (0.5,)), Curve(0, 2, (0.7,))),
    )


def sample_runs(n: int = 5, seeds: int = 3, *, joint: bool = False, stream: str = "split-cifar100") -> list[RunFile]:
    """`seeds` runs of every usual strategy over `n` experiences."""
    kinds = STRATEGIES if joint else USUAL
    return [sample_run(kind, depth, n=n, seed=s, stream=stream) for kind, depth in kinds for s in range(seeds)]


def tiny_run(R: list[list[float]], **changes: object) -> RunFile:
    """A run with the accuracy matrix `R` (NaN where not measured), otherwise like `sample_run`."""
    run = sample_run(n=len(R))
    return replace(run, accuracy=accuracy_rows(np.array(R)), **changes)  # type: ignore[arg-type]
