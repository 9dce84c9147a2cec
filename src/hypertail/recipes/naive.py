"""Naive fine-tuning."""

from __future__ import annotations

from hypertail.recipes.optimisation import optimisation
from hypertail.recipes.recipe import Parts, Recipe
from hypertail.recipes.shared import FirstExperience, Heads, Optimiser
from hypertail.strategies import Naive, Strategy


def _build(parts: Parts) -> Strategy:
    return Naive(parts.model, optimisation(parts.options), seed=parts.seed)


RECIPE = Recipe(
    name="naive",
    label="Naive",
    what="trains one model on one experience after another and does nothing against forgetting.",
    order=0,
    colours=("#848993",),
    groups=(Optimiser, FirstExperience, Heads),
    build=_build,
    role="lower",
    presets={"tuned": {"trunk_epochs": 30}},
    short=("finetune",),
)
