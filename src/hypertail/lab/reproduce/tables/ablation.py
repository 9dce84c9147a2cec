"""Ablation: the preset with one option set another way, row by row (DEVIATIONS.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.library import FinishedRun, matching
from hypertail.lab.reports.papertable import Cell, Number, PaperTable
from hypertail.lab.reproduce.cells import count, notes, percent
from hypertail.lab.reproduce.setting import Setting
from hypertail.lab.reproduce.target import Output, Target

STREAM = "split-cifar100"
EXPERIENCES = 5
"""Experiences that are learned: enough to see most effects, and a quarter of the time."""
USUAL, KNOWN = ("hn-3",), ("hn-1", "hn-2", "hn-3", "hn-4", "hn-f")


@dataclass(frozen=True)
class Change:
    """Options that differ from the preset's, in words and as they are.

    Attributes:
        convolutions: whether it matters only where convolutions are generated.
    """

    what: str
    options: Mapping[str, Any]
    convolutions: bool = False


WITH_TAIL = {"trunk_training": "with-tail", "standardise": False}

CHANGES: tuple[Change, ...] = (
    Change("trunk learns classes alone, no rotations", {"trunk_rotations": False}),
    Change("trunk learns e_1 together with the tail", WITH_TAIL),
    Change("the same, and normalises by each batch when frozen", {**WITH_TAIL, "trunk_statistics": "batch"}),
    Change("tails begin afresh", {"tail_start": "fresh"}, convolutions=True),
    Change("classifier generated", {"classifier": "generated"}, convolutions=True),
    Change("raw features at the cut", {"standardise": False}),
    Change("instance norm in the tail", {"norm": "instance"}, convolutions=True),
    Change("heads of 10 outputs", {"head_width": 10}),
    Change("rank 32", {"rank": 32}, convolutions=True),
    Change("no adapters", {"adapter_rank": 0}, convolutions=True),
    Change("adapters at learning rate 3e-3", {"task_lr": 3e-3}, convolutions=True),
    Change("channel vectors start gaussian", {"vectors": "gaussian"}, convolutions=True),
    Change("channel vectors learned throughout", {"channel_vectors": "learned"}, convolutions=True),
    Change("tails begin afresh, library's default initialisation", {"tail_start": "fresh", "init": "library"}),
    Change("product of task and channel codes", {"code": "product"}, convolutions=True),
    Change("embedding copied from the previous task", {"new_embedding": "copied"}),
    Change("hypernetwork's learning rate 1e-3", {"hyper_lr": 1e-3}),
    Change("constant learning rate", {"schedule": "constant"}),
    Change("Adam's moments kept between experiences", {"optimizer_state": "kept"}),
    Change("squared distance of weights, lambda 0.5", {"curvature": False, "penalty_weight": 0.5}),
    Change("the same, lambda 0.03", {"curvature": False, "penalty_weight": 0.03}),
    Change("penalty is a mean over tasks", {"reduction": "mean"}),
    Change("no output regularisation", {"output_weight": 0.0}),
    Change("two gradients summed", {"combine": "sum"}),
    Change("look-ahead, first order, optimizer's step", {"lookahead": "first"}),
    Change("look-ahead, first order, SGD step", {"lookahead": "first", "virtual_step": "sgd"}),
    Change("no penalty at all", {"penalty_weight": 0.0, "output_weight": 0.0}),
)
"""Rows, in the order of DEVIATIONS.md. One weight set per sample changes time alone: `hypertail bench` measures it."""


def _strategies(setting: Setting) -> list[str]:
    return setting.chosen(USUAL, KNOWN) if setting.among((STREAM,)) else []


def _base(setting: Setting, strategy: str) -> tuple[RunConfig, ...]:
    return setting.config(STREAM, strategy, **_length(setting))


def _length(setting: Setting) -> dict[str, Any]:
    return {} if setting.size.digits else {"experiences": EXPERIENCES}


def _changed(setting: Setting, strategy: str, change: Change) -> tuple[RunConfig, ...]:
    return setting.config(STREAM, strategy, values=change.options, **_length(setting))


def _rows(setting: Setting, strategy: str) -> list[tuple[str, tuple[RunConfig, ...]]]:
    """The preset, each change that is one, and the paper's preset whole."""
    base = _base(setting, strategy)
    rows = [(f"preset {setting.preset}", base)]
    for change in CHANGES[:2] if setting.size.digits else CHANGES:
        if change.convolutions and base[0].cut is not None and not base[0].cut.has_convolutions:
            continue
        configs = _changed(setting, strategy, change)
        if configs[0].identity() != base[0].identity():
            rows.append((change.what, configs))
    if setting.preset != "printed":
        rows.append(("preset printed", _base(replace(setting, preset="printed"), strategy)))
    return rows


def plan(setting: Setting) -> tuple[RunConfig, ...]:
    """The preset as it is, and with each change."""
    return tuple(
        config for strategy in _strategies(setting) for _, configs in _rows(setting, strategy) for config in configs
    )


def render(setting: Setting, runs: Sequence[FinishedRun]) -> Output:
    """A table for each strategy: what a change does to accuracy and forgetting."""
    tables = []
    for strategy in _strategies(setting):
        rows: list[tuple[Cell, ...]] = []
        used: list[FinishedRun] = []
        unchanged = matching(runs, _base(setting, strategy))
        for what, configs in _rows(setting, strategy):
            own = matching(runs, configs)
            used += own
            cells = (percent(own, "aca"), percent(own, "forgetting"), percent(own, "learning_accuracy"))
            rows.append((what, *cells, _effect(own, unchanged), count(own)))
        first = "" if setting.size.digits else f" on the first {EXPERIENCES} experiences of Split-CIFAR100"
        table = PaperTable(
            stem=f"ablation-{strategy}",
            title=f"One option at a time: {strategy.upper()}{first}",
            columns=("what differs", "ACA %", "forgetting %", "learning accuracy %", "ACA change", "n"),
            rows=tuple(rows),
            notes=notes(
                setting,
                plan(setting),
                used,
                "Options are changed alone, not tuned again: a value that fails here may do well among others.",
                "One weight set per sample, the authors' way, computes the same step more slowly (hypertail bench).",
            ),
        )
        tables.append(table)
    return Output(tables=tuple(tables))


def _effect(runs: Sequence[FinishedRun], unchanged: Sequence[FinishedRun]) -> Number | None:
    """Points of ACA that the change makes, seed by seed."""
    before = {run.run.seed: run.run.metrics["aca"] for run in unchanged}
    pairs = [(run.run.metrics["aca"], before.get(run.run.seed)) for run in runs]
    return Number.of([100 * (new - old) for new, old in pairs if new is not None and old is not None])


TARGET = Target(
    name="ablation",
    title="What each departure from the paper does, one option at a time (not in the paper)",
    sentence=(
        "Each row undoes one choice of the preset: the further its accuracy falls below the first row, the more that "
        "choice matters."
    ),
    plan=plan,
    render=render,
)
