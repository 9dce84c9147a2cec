"""A linear head for each task on what the frozen model of e_1 gives."""

from __future__ import annotations

from torch import nn

from hypertail.recipes.options import Options
from hypertail.recipes.recipe import ALONE, Parts, Recipe, around, check_pretrained, frozen_trunk_idle
from hypertail.recipes.shared import ClassifierRate, FirstExperience, FrozenTrunk, Optimiser
from hypertail.seeds import seeded
from hypertail.strategies import Optimisation, Separate, Strategy, Trunk


def _build(parts: Parts) -> Strategy:
    trunk, body, width = parts.pretrained()
    optimiser = parts.options[Optimiser]
    rate = parts.options[ClassifierRate].classifier_lr or optimiser.lr

    def head(task: int, classes: int) -> nn.Module:
        with seeded(parts.seed, "head", task):
            return nn.Linear(width, classes).to(parts.device)

    whole = Trunk(nn.Sequential(trunk.module, body), learns=False)
    return Separate(whole, head, Optimisation(rate, optimiser.schedule, optimiser.optimizer_state))


def _space(options: Options) -> dict[str, tuple[float, ...]]:
    return {"classifier_lr": around(options[ClassifierRate].classifier_lr or options[Optimiser].lr, 3)}


RECIPE = Recipe(
    name="head",
    label="Head",
    what="the model of e_1 is frozen whole, and every experience gets a linear classifier.",
    order=81,
    colours=("#a0522d",),
    groups=(Optimiser, FirstExperience, FrozenTrunk, ClassifierRate),
    build=_build,
    has_depth=True,
    presets={"printed": ALONE, "released": ALONE},
    idle=frozen_trunk_idle,
    check=check_pretrained,
    space=_space,
)
