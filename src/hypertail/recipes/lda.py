"""Class means and one covariance of what the frozen model of e_1 gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hypertail.errors import check_range
from hypertail.recipes.options import OptionGroup, Options
from hypertail.recipes.recipe import ALONE, Parts, Recipe, check_pretrained, frozen_trunk_idle
from hypertail.recipes.shared import FirstExperience, FrozenTrunk, Optimiser
from hypertail.strategies import Lda, Strategy, Trunk
from hypertail.strategies.lda import Described


@dataclass(frozen=True)
class Covariance(OptionGroup):
    """The covariance of linear discriminant analysis."""

    heading: ClassVar[str] = "discriminant analysis"

    ridge: float = 1e-2
    """Share of the mean variance that is added to the diagonal of the covariance."""

    def __post_init__(self) -> None:
        check_range("--ridge", self.ridge, 0)


def _build(parts: Parts) -> Strategy:
    trunk, body, _ = parts.pretrained()
    return Lda(Trunk(Described(trunk.module, body), learns=False), ridge=parts.options[Covariance].ridge)


def _space(options: Options) -> dict[str, tuple[float, ...]]:
    return {"ridge": (1e-3, 1e-2, 1e-1)}


RECIPE = Recipe(
    name="lda",
    label="LDA",
    what="the model of e_1 is frozen whole; class means and one covariance of its vectors, in one pass.",
    order=82,
    colours=("#5f6b7a",),
    groups=(Optimiser, FirstExperience, FrozenTrunk, Covariance),
    build=_build,
    has_depth=True,
    presets={"printed": ALONE, "released": ALONE},
    idle=frozen_trunk_idle,
    check=check_pretrained,
    space=_space,
)
