"""Learning without forgetting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hypertail.errors import check_range
from hypertail.nets.models import Cut
from hypertail.recipes.optimisation import tail_optimisation
from hypertail.recipes.options import OptionGroup, Options
from hypertail.recipes.recipe import Parts, Recipe, around, begins_pretrained, check_trunk, frozen_trunk_idle
from hypertail.recipes.shared import ClassifierRate, FirstExperience, FrozenTrunk, Heads, Optimiser, TailStart
from hypertail.strategies import LwF, Strategy


@dataclass(frozen=True)
class Distillation(OptionGroup):
    """How firmly the answers of earlier heads are held."""

    heading: ClassVar[str] = "distillation"

    distill_weight: float = 1.0
    """Weight of the distillation loss of each earlier task."""
    distill_temperature: float = 2.0
    """Temperature T that softens both answers; the loss is multiplied by T squared."""

    def __post_init__(self) -> None:
        check_range("--distill-weight", self.distill_weight, 0)
        check_range("--distill-temperature", self.distill_temperature, 0, above=True)


def _build(parts: Parts) -> Strategy:
    trunk, tail, cut = parts.at_cut()
    if begins_pretrained(parts.options, cut):
        trunk, tail = parts.from_own_tail()
    own = parts.options[Distillation]
    return LwF(
        trunk,
        tail,
        tail_optimisation(parts.options, cut),
        weight=own.distill_weight,
        temperature=own.distill_temperature,
        seed=parts.seed,
    )


def _idle(options: Options, cut: Cut | None) -> set[str]:
    idle = frozen_trunk_idle(options, cut)
    classifier = cut is not None and cut.is_classifier
    if classifier:  # nothing is shared that could change what earlier heads answer
        idle |= {"distill_weight", "distill_temperature"}
    elif options[Distillation].distill_weight == 0:
        idle.add("distill_temperature")
    return idle | (set() if classifier else {"classifier_lr"})


def _space(options: Options) -> dict[str, tuple[float, ...]]:
    own = options[Distillation]
    return {"lr": around(options[Optimiser].lr, 3), "distill_weight": around(own.distill_weight, 3)}


RECIPE = Recipe(
    name="lwf",
    label="LwF",
    what="learning without forgetting: the first k blocks are frozen; earlier heads keep their answers to new images.",
    order=1.5,
    colours=("#8a5563", "#95606d", "#a06b77", "#aa7781", "#b4838b"),
    groups=(Optimiser, FirstExperience, FrozenTrunk, TailStart, ClassifierRate, Heads, Distillation),
    build=_build,
    has_depth=True,
    full=True,
    short=("learning-without-forgetting",),
    presets={"tuned": {"tail_start": "fresh"}},
    idle=_idle,
    check=check_trunk,
    space=_space,
)
