"""One stored tail per task."""

from __future__ import annotations

from torch import nn

from hypertail.nets.body import headless
from hypertail.nets.models import Cut
from hypertail.recipes.optimisation import tail_optimisation
from hypertail.recipes.options import Options
from hypertail.recipes.recipe import Parts, Recipe, begins_pretrained, check_trunk, frozen_trunk_idle
from hypertail.recipes.shared import (
    ClassifierRate,
    FirstExperience,
    FrozenTrunk,
    Heads,
    Optimiser,
    ShortTasks,
    TailStart,
)
from hypertail.strategies import Pace, Separate, Strategy
from hypertail.strategies.tuned import tail_defaults


def _build(parts: Parts) -> Strategy:
    trunk, _, cut = parts.at_cut()
    pace, make = Pace(parts.options.flat()["reference_steps"]), parts.make_tail
    if begins_pretrained(parts.options, cut):
        trunk, begun = parts.from_own_tail()
        learned = headless(begun)[0].state_dict()

        def make(task: int, classes: int) -> nn.Module:
            tail = parts.make_tail(task, classes)
            tail.load_state_dict(learned, strict=False)
            return tail

    return Separate(trunk, make, tail_optimisation(parts.options, cut), pace=pace)


def _defaults(options: Options, cut: Cut | None) -> dict[str, int]:
    return {} if cut is None else {"reference_steps": tail_defaults(cut.tail).reference_steps}


def _idle(options: Options, cut: Cut | None) -> set[str]:
    classifier = cut is not None and cut.is_classifier
    return frozen_trunk_idle(options, cut) | (set() if classifier else {"classifier_lr"})


RECIPE = Recipe(
    name="separate",
    label="Separate",
    what="the first k blocks are frozen, and every experience gets a stored copy of the rest.",
    order=90,
    colours=("#35944b",),
    groups=(Optimiser, FirstExperience, FrozenTrunk, TailStart, ClassifierRate, Heads, ShortTasks),
    build=_build,
    has_depth=True,
    role="upper",
    reference=("one stored tail per experience", "Separate stores one tail per experience"),
    defaults=_defaults,
    idle=_idle,
    check=check_trunk,
)
