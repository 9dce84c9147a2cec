"""Joint training."""

from __future__ import annotations

from hypertail.recipes.optimisation import optimisation
from hypertail.recipes.recipe import Parts, Recipe
from hypertail.recipes.shared import Heads, Optimiser
from hypertail.strategies import Joint, Strategy


def _build(parts: Parts) -> Strategy:
    return Joint(parts.model, optimisation(parts.options), seed=parts.seed)


RECIPE = Recipe(
    name="joint",
    label="Joint",
    what="trains on all experiences at once, which continual learning does not allow.",
    order=91,
    colours=("#ad50b6",),
    groups=(Optimiser, Heads),
    build=_build,
    role="upper",
    reference=(
        "all experiences at once",
        "Joint trains on all experiences at once, e_1 no longer than the others: no upper bound "
        "(its bytes leave out the data it stores)",
    ),
    short=("multitask",),
)
