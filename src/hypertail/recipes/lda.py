"""Class means and one covariance of what the frozen model of e_1 gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from tyro.conf import arg

from hypertail.errors import check_range
from hypertail.nets.models import Cut
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
    projection_width: Annotated[int, arg(metavar="N")] = 0
    """Numbers of a random projection with a ReLU before (RanPAC; the covariance takes 8 N^2 bytes); 0: none."""

    def __post_init__(self) -> None:
        check_range("--ridge", self.ridge, 0)
        check_range("--projection-width", self.projection_width, 0)


def _build(parts: Parts) -> Strategy:
    trunk, body, _ = parts.pretrained()
    own = parts.options[Covariance]
    described = Trunk(Described(trunk.module, body), learns=False)
    return Lda(described, ridge=own.ridge, projection_width=own.projection_width, seed=parts.seed)


def _idle(options: Options, cut: Cut | None) -> set[str]:
    # no step is taken, on no view
    return frozen_trunk_idle(options, cut) | {"views"}


def _space(options: Options) -> dict[str, tuple[float, ...]]:
    return {"ridge": (1e-2, 1e-1, 1.0) if options[Covariance].projection_width else (1e-3, 1e-2, 1e-1)}


RECIPE = Recipe(
    name="lda",
    label="LDA",
    what="the model of e_1 is frozen whole; class means and one covariance of its vectors and of the pooled "
    "features of block k, in one pass.",
    order=82,
    colours=("#5f6b7a",),
    groups=(Optimiser, FirstExperience, FrozenTrunk, Covariance),
    build=_build,
    has_depth=True,
    presets={"printed": ALONE, "released": ALONE},
    idle=_idle,
    check=check_pretrained,
    space=_space,
)
