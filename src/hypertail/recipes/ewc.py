"""Elastic weight consolidation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from tyro.conf import arg

from hypertail.errors import check_range
from hypertail.recipes.optimisation import optimisation
from hypertail.recipes.options import OptionGroup, Options
from hypertail.recipes.recipe import Parts, Recipe, around
from hypertail.recipes.shared import FirstExperience, Heads, Optimiser
from hypertail.strategies import EWC, Strategy


@dataclass(frozen=True)
class Consolidation(OptionGroup):
    """The penalty of EWC."""

    heading: ClassVar[str] = "ewc"

    ewc_weight: float = 1e4
    """Lambda of EWC."""
    fisher_samples: Annotated[int, arg(metavar="N")] = 256
    """At most so many images estimate the Fisher diagonal of a task."""

    def __post_init__(self) -> None:
        check_range("--ewc-weight", self.ewc_weight, 0)
        check_range("--fisher-samples", self.fisher_samples, 1)


def _build(parts: Parts) -> Strategy:
    own = parts.options[Consolidation]
    return EWC(
        parts.model,
        optimisation(parts.options),
        weight=own.ewc_weight,
        fisher_samples=own.fisher_samples,
        seed=parts.seed,
    )


def _space(options: Options) -> dict[str, tuple[float, ...]]:
    return {"lr": around(options[Optimiser].lr, 3), "ewc_weight": around(options[Consolidation].ewc_weight, 10)}


RECIPE = Recipe(
    name="ewc",
    label="EWC",
    what="trains one model too, but holds weights that mattered before close to their old values.",
    order=1,
    colours=("#8a8030",),
    groups=(Optimiser, FirstExperience, Heads, Consolidation),
    build=_build,
    presets={
        "tuned": {"trunk_epochs": 30},
        "printed": {"ewc_weight": 1.0},
        "released": {"ewc_weight": 1.0},
    },
    space=_space,
)
