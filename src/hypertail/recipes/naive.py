"""Naive fine-tuning."""

from __future__ import annotations

from hypertail.recipes.optimisation import optimisation
from hypertail.recipes.options import Options
from hypertail.recipes.recipe import Parts, Recipe, around
from hypertail.recipes.shared import FirstExperience, Heads, Optimiser
from hypertail.strategies import Naive, Strategy


def _build(parts: Parts) -> Strategy:
    return Naive(parts.model, optimisation(parts.options), seed=parts.seed)


def _space(options: Options) -> dict[str, tuple[float, ...]]:
    return {"lr": around(options[Optimiser].lr, 3)}


RECIPE = Recipe(
    name="naive",
    label="Naive",
    what="trains one model on one experience after another and does nothing against forgetting.",
    order=0,
    colours=("#848993",),
    groups=(Optimiser, FirstExperience, Heads),
    build=_build,
    role="lower",
    short=("finetune",),
    space=_space,
)
