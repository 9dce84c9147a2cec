"""A frozen pretrained tail and an adapter for each task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from tyro.conf import arg

from hypertail.errors import check_range
from hypertail.recipes.options import OptionGroup, Options
from hypertail.recipes.recipe import ALONE, Parts, Recipe, around, check_pretrained, frozen_trunk_idle
from hypertail.recipes.shared import FirstExperience, FrozenTrunk, Optimiser
from hypertail.strategies import Adapters, Optimisation, Strategy


@dataclass(frozen=True)
class TaskAdapter(OptionGroup):
    """What each task changes of the pretrained tail."""

    heading: ClassVar[str] = "adapter of a pretrained tail"

    task_rank: Annotated[int, arg(metavar="N")] = 8
    """Rank of a task's change of each pretrained weight; 0: scales, shifts, statistics and classifier alone."""
    adapter_lr: float = 1e-2
    """Learning rate of what belongs to a task."""

    def __post_init__(self) -> None:
        check_range("--task-rank", self.task_rank, 0)
        check_range("--adapter-lr", self.adapter_lr, 0, above=True)


def _build(parts: Parts) -> Strategy:
    trunk, body, width = parts.pretrained()
    options = parts.options[TaskAdapter]
    schedule = parts.options[Optimiser]
    optimisation = Optimisation(options.adapter_lr, schedule.schedule, schedule.optimizer_state)
    return Adapters(trunk, body, width, optimisation, rank=options.task_rank, seed=parts.seed)


def _space(options: Options) -> dict[str, tuple[float, ...]]:
    return {"adapter_lr": around(options[TaskAdapter].adapter_lr, 3)}


RECIPE = Recipe(
    name="adapter",
    label="Adapter",
    what="the model of e_1 is frozen whole, and every experience gets an adapter of the rest, and a classifier.",
    order=80,
    colours=("#8a6d00",),
    groups=(Optimiser, FirstExperience, FrozenTrunk, TaskAdapter),
    build=_build,
    has_depth=True,
    presets={"printed": ALONE, "released": ALONE},
    idle=frozen_trunk_idle,
    check=check_pretrained,
    space=_space,
)
