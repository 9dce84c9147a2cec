"""What the benchmark found: ratios, targets and JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from hypertail.environment import hardware, versions
from hypertail.lab.benchmark.memory import PeakMemory
from hypertail.lab.benchmark.modes import RATIOS, floor_of
from hypertail.lab.benchmark.profile import Profile
from hypertail.lab.benchmark.timing import Timing
from hypertail.storage.atomic import write_text
from hypertail.training.precision import Precision

FORMAT, VERSION = "hypertail-bench", 1

AT_LEAST_TO_RELEASED = {"HN-F": 8.0, "HN-2": 15.0, "HN-3": 25.0, "HN-4": 30.0}
AT_MOST_TO_FLOOR = {"HN-2": 1.5, "HN-3": 1.5, "HN-4": 1.5}
AT_MOST_BY_TASKS = 1.2
AT_MOST_NAIVE_EPOCH = 1.03
AT_MOST_OUTPUT_TERM = 0.5
WITH_OUTPUT_TERM = ("HN-F", "HN-1", "HN-2", "HN-3", "HN-4")

Bound = Literal["at least", "at most"]


@dataclass(frozen=True)
class Measured:
    """Everything the benchmark measured.

    Attributes:
        seconds: of a step, by mode and model.
        precision: that `--speed auto` chooses on this machine, by model, `by_tasks_model` included.
        by_tasks: seconds of a tuned step of `by_tasks_model`, by number of tasks.
        epochs: seconds of an epoch of naive by `trainer` and by a `bare` loop.
        memory: peak memory by mode and model.
        evaluation: seconds to evaluate all tasks on cached inputs, by model (tuned).
        steps_per_epoch: optimizer steps of an epoch, to which the evaluation is compared.
        settings: sizes and options of the measurement.
        took: seconds of the whole.
        profile: operators of a tuned step, if asked for.
    """

    seconds: dict[str, dict[str, Timing]]
    precision: dict[str, Precision]
    by_tasks: dict[int, Timing]
    by_tasks_model: str
    epochs: dict[str, Timing]
    memory: dict[str, dict[str, PeakMemory]]
    evaluation: dict[str, Timing]
    steps_per_epoch: int
    settings: dict[str, Any]
    took: float
    profile: Profile | None = None

    def ratio(self, mode: str, to: str) -> dict[str, float]:
        """Median of `mode` over median of `to`, for the models that have both."""
        above, below = self.seconds.get(mode, {}), self.seconds.get(to, {})
        return {model: above[model].median / below[model].median for model in above if model in below}

    def ratio_uncached(self, mode: str) -> dict[str, float]:
        """Released with its trunk over `mode` with its trunk: what is left where features are not kept."""
        whole, own = self.seconds.get("released_with_trunk", {}), self.seconds.get(mode, {})
        trunk = self.seconds.get("trunk_forward", {})
        return {
            model: whole[model].median / (own[model].median + trunk[model].median) for model in trunk if model in own
        }

    def ratio_same_precision(self, mode: str) -> dict[str, float]:
        """`mode`, at the precision chosen for each model, over the bare loop at that precision."""
        found = {}
        for model, timing in self.seconds.get(mode, {}).items():
            floor = self.seconds.get(floor_of(self.precision[model]), {}).get(model)
            if floor is not None:
                found[model] = timing.median / floor.median
        return found

    @property
    def output_term_share(self) -> dict[str, float]:
        """The part of a tuned step that its output regularisation adds."""
        return {model: 1 - ratio for model, ratio in self.ratio("weight_space", "tuned").items()}

    @property
    def by_tasks_ratio(self) -> float | None:
        """Step at 1,000 tasks over step at 20."""
        few, many = self.by_tasks.get(20), self.by_tasks.get(1000)
        return None if few is None or many is None else many.median / few.median

    @property
    def epoch_ratio(self) -> float:
        """The trainer's epoch over the bare loop's."""
        return self.epochs["trainer"].median / self.epochs["bare"].median


@dataclass(frozen=True)
class Target:
    """A bound, what was measured (None: not measured this time) and whether it holds."""

    name: str
    bound: Bound
    limit: float
    measured: float | None

    @property
    def met(self) -> bool | None:
        """None where nothing was measured."""
        if self.measured is None:
            return None
        return self.measured >= self.limit if self.bound == "at least" else self.measured <= self.limit

    def to_json(self) -> dict[str, Any]:
        """By name."""
        facts = {"name": self.name, "bound": self.bound, "limit": self.limit}
        return facts | {"measured": self.measured, "met": self.met}


def targets(measured: Measured) -> list[Target]:
    """Every target beside its measurement; those of ratios are set for the weight-space penalty."""
    released = measured.ratio("released", "weight_space")
    with_trunk = measured.ratio("released_with_trunk", "weight_space")
    floor, same = measured.ratio("weight_space", "floor"), measured.ratio_same_precision("weight_space")
    found = []
    for model, limit in AT_LEAST_TO_RELEASED.items():
        found.append(Target(f"{model}: released / weight-space", "at least", limit, released.get(model)))
        if model != "HN-F":
            name = f"{model}: released + trunk / weight-space"
            found.append(Target(name, "at least", limit, with_trunk.get(model)))
    for model, limit in AT_MOST_TO_FLOOR.items():
        name = f"{model}: weight-space / bare loop"
        found.append(Target(name, "at most", limit, floor.get(model)))
        found.append(Target(f"{name}, same precision", "at most", limit, same.get(model)))
    for model in WITH_OUTPUT_TERM:
        name = f"{model}: output-space term / tuned step"
        found.append(Target(name, "at most", AT_MOST_OUTPUT_TERM, measured.output_term_share.get(model)))
    step = f"{measured.by_tasks_model}: step at 1,000 tasks / at 20"
    epoch = "Naive: epoch of the trainer / of a bare loop"
    found.append(Target(step, "at most", AT_MOST_BY_TASKS, measured.by_tasks_ratio))
    found.append(Target(epoch, "at most", AT_MOST_NAIVE_EPOCH, measured.epoch_ratio))
    return found


def ratios(measured: Measured) -> dict[str, dict[str, float]]:
    """All ratios of medians by key and model."""
    found = {key: measured.ratio(above, below) for key, (above, below) in RATIOS.items()}
    for mode, suffix in (("tuned", ""), ("weight_space", "_weight_space")):
        found[f"ratio_to_released_uncached{suffix}"] = measured.ratio_uncached(mode)
        found[f"ratio_to_floor{suffix}_same_precision"] = measured.ratio_same_precision(mode)
    return found


def facts(measured: Measured, device: torch.device, line: str = "") -> dict[str, Any]:
    """What the JSON file holds; all times in seconds."""
    seconds = measured.seconds
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "seconds_per_step": {mode: {m: t.median for m, t in own.items()} for mode, own in seconds.items()},
        "spread": {mode: {m: t.to_json() for m, t in own.items()} for mode, own in seconds.items()},
        "precision": measured.precision,
        **ratios(measured),
        "output_term_share": measured.output_term_share,
        "step_by_tasks": {str(tasks): timing.median for tasks, timing in measured.by_tasks.items()},
        "step_by_tasks_spread": {str(tasks): timing.to_json() for tasks, timing in measured.by_tasks.items()},
        "step_by_tasks_model": measured.by_tasks_model,
        "naive_epoch": {name: timing.to_json() for name, timing in measured.epochs.items()}
        | {"ratio": measured.epoch_ratio},
        "peak_memory": {mode: {m: peak.to_json() for m, peak in own.items()} for mode, own in measured.memory.items()},
        "evaluation": {
            model: timing.to_json() | {"epoch_of_steps": measured.steps_per_epoch * seconds["tuned"][model].median}
            for model, timing in measured.evaluation.items()
        },
        **({} if measured.profile is None else {"profile": measured.profile.to_json()}),
        "targets": [target.to_json() for target in targets(measured)],
        "settings": measured.settings,
        "seconds": measured.took,
        "versions": versions(),
        "hardware": hardware(device),
        "command": line,
    }


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write the file, making its folder if need be."""
    write_text(path, json.dumps(content, indent=1) + "\n")
