"""What a search is: what its trials share, what they try, and where their run directories lie."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from hypertail.errors import ConfigError, check_choice, check_range
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.describe import spell
from hypertail.lab.records.runfile import RunFile
from hypertail.lab.tuning.space import Range, Space, check_space, combinations, listed, spelled

How = Literal["grid", "random", "tpe"]
Prune = Literal["none", "seeds", "experiences"]
HOW: tuple[How, ...] = ("grid", "random", "tpe")
PRUNE: tuple[Prune, ...] = ("none", "seeds", "experiences")
USUAL_TRIALS = 20
"""Trials of a random or TPE search of which the number is not given."""

OBJECTIVES: Mapping[str, Literal["maximize", "minimize"]] = {
    "aca": "maximize",
    "forgetting": "minimize",
    "bytes": "minimize",
    "seconds": "minimize",
}
"""What a search can pursue, and whether more of it is better."""


def quantity_of(run: RunFile, objective: str) -> float | None:
    """What a run has of an objective; None where it was not measured."""
    if objective == "seconds":
        return run.seconds
    return float(run.bytes_kept) if objective == "bytes" else run.metrics[objective]


@dataclass(frozen=True)
class Search:
    """A search for options.

    Attributes:
        base: the configuration that trials change; `measure_on` is validation.
        space: options and what to try for each.
        seeds: every trial is run with each, the first one first.
        how: every combination; random ones; or those that Optuna's TPE sampler expects to be good.
        trials: their number where not every combination is tried; None for `USUAL_TRIALS`.
        prune: give up trials that do worse than others after a seed, or after an experience of the first seed.
        objectives: `aca`, and others that count as much.
        tolerance: of the trials whose ACA is within so much (0..1) of the highest, the smallest is best.
    """

    base: RunConfig
    space: Space
    seeds: tuple[int, ...] = (0,)
    how: How = "grid"
    trials: int | None = None
    prune: Prune = "none"
    objectives: tuple[str, ...] = ("aca",)
    tolerance: float = 0.0

    def check(self) -> None:
        """Refuse what cannot be searched, before anything is run.

        Raises:
            ConfigError: naming the option.
        """
        if self.base.measure_on != "validation":
            raise ConfigError(
                "data to choose hyper-parameters on",
                required="validation data",
                found=f"{self.base.measure_on} data",
                hint='Use RunConfig(..., validation=0.1, measure_on="validation").',
            )
        if not self.seeds:
            raise ConfigError(
                "option --seeds",
                required="at least one value",
                found="none",
                hint="Name one after --seeds, or leave it out.",
            )
        if not 0 <= self.tolerance < 1:
            raise ConfigError(
                "tolerance of the choice",
                required="0 to 100 points of ACA",
                found=f"{100 * self.tolerance:g}",
                hint="Use --tolerance 0.5, say.",
            )
        check_space(self.space, self.base)
        self._check_how()
        self._check_objectives()
        if self.how == "grid":
            for values in combinations(self.space):
                self.config(values)
        elif self.count == 0:
            self.config((listed(self.space) or [{}])[0])

    def _check_how(self) -> None:
        check_choice("value of --search", self.how, HOW)
        check_choice("value of --prune", self.prune, PRUNE)
        check_range("--trials", self.trials, 1)
        if self.how == "grid" and self.trials not in (None, len(combinations(self.space))):
            raise ConfigError(
                "option --trials of a grid",
                required=f"all {len(combinations(self.space))} combinations of --try",
                found=str(self.trials),
                hint="Leave --trials out, or use --search random or tpe.",
            )
        if self.prune == "seeds" and len(self.seeds) == 1:
            raise ConfigError(
                "option --prune seeds",
                required="several seeds, to look after each",
                found="one",
                hint="Add --seeds 0 1 2, say, or use --prune experiences.",
            )

    def _check_objectives(self) -> None:
        for name in self.objectives:
            check_choice("objective", name, OBJECTIVES)
        if "aca" not in self.objectives or len(set(self.objectives)) < len(self.objectives):
            raise ConfigError(
                "option --objective",
                required="aca, by which the choice is made, and others, each once",
                found=",".join(self.objectives) or "none",
                hint="Use --objective aca,bytes, say.",
            )
        if len(self.objectives) > 1 and self.prune != "none":
            raise ConfigError(
                f"option --prune {self.prune}",
                required="one objective, by which trials are given up",
                found=f"{len(self.objectives)}: {', '.join(self.objectives)}",
                hint="Leave --prune out, or use --objective aca.",
            )

    @cached_property
    def count(self) -> int:
        """How many trials there are to be; where all combinations can be listed, no more than go together."""
        if self.how == "grid":
            return len(combinations(self.space))
        most, known = self.trials or USUAL_TRIALS, listed(self.space)
        return most if known is None else len(list(itertools.islice(filter(self.works, known), most)))

    def works(self, values: Mapping[str, Any]) -> bool:
        """Whether values go together."""
        try:
            self.config(values)
        except ConfigError:
            return False
        return True

    def config(self, values: Mapping[str, Any], seed: int | None = None) -> RunConfig:
        """The run of a trial with a seed, the first one unless given.

        Raises:
            ConfigError: values that do not go together (`works`).
        """
        return replace(self.base.with_options(**values), seed=self.seeds[0] if seed is None else seed)

    def changes(self, config: RunConfig) -> dict[str, Any]:
        """The options in which a trial differs from the base."""
        usual = self.base.options
        return {name: value for name, value in config.options.flat().items() if value != usual.get(name)}

    def values(self, changes: Mapping[str, Any]) -> dict[str, Any] | None:
        """What a trial has of the options that are tried; None for one that this search would not propose."""
        if not changes.keys() <= self.space.keys():
            return None
        values = {name: changes.get(name, self.base.options.get(name)) for name in self.space}
        inside = all(
            value in tried and (not isinstance(tried, Range) or tried.nearest(value) == value)
            for tried, value in zip(self.space.values(), values.values(), strict=True)
        )
        return values if inside else None

    def directory(self, folder: Path, config: RunConfig) -> Path:
        """The run directory of a trial with a seed, in a folder named after the options that it changes."""
        name = "_".join(f"{spelled(name)}-{spell(value)}" for name, value in self.changes(config).items()) or "base"
        if len(name) > 150:  # names of files are limited
            name = f"{name[:130]}-{hashlib.blake2b(name.encode(), digest_size=8).hexdigest()}"
        return folder / name / config.run_name

    def describe(self, values: Mapping[str, Any]) -> str:
        """Options and values in words, `penalty-weight 0.05, rank 76`; those that are tried, and others that differ."""
        named = {name: self.base.options.get(name) for name in self.space} | dict(values)
        return ", ".join(f"{spelled(name)} {spell(value)}" for name, value in named.items())
