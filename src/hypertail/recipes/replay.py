"""Latent replay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from tyro.conf import arg

from hypertail.errors import check_range
from hypertail.nets.models import Cut
from hypertail.recipes.optimisation import tail_optimisation
from hypertail.recipes.options import OptionGroup, Options
from hypertail.recipes.recipe import Parts, Recipe, around, begins_pretrained, check_trunk, frozen_trunk_idle
from hypertail.recipes.shared import ClassifierRate, FirstExperience, FrozenTrunk, Heads, Optimiser, TailStart
from hypertail.strategies import LatentReplay, Strategy
from hypertail.strategies.parts.buffer import BufferPolicy


@dataclass(frozen=True)
class Replay(OptionGroup):
    """Stored exemplars."""

    heading: ClassVar[str] = "replay"

    buffer: Annotated[int | None, arg(metavar="N")] = None
    """Exemplars of latent replay; None: 2 per class of the stream (200 on CIFAR-100, 400 on Tiny ImageNet)."""
    buffer_policy: BufferPolicy = "class-balanced"
    """How the buffer chooses exemplars."""
    replay_batch: Annotated[int, arg(metavar="N")] = 64
    """Exemplars replayed at each step."""
    replay_coefficient: float = 1.0
    """Coefficient c of the replay loss."""

    def __post_init__(self) -> None:
        check_range("--buffer", self.buffer, 1)
        check_range("--replay-batch", self.replay_batch, 1)
        check_range("--replay-coefficient", self.replay_coefficient, 0)


def _build(parts: Parts) -> Strategy:
    trunk, tail, cut = parts.at_cut()
    if begins_pretrained(parts.options, cut):
        trunk, tail = parts.from_own_tail()
    own = parts.options[Replay]
    return LatentReplay(
        trunk,
        tail,
        tail_optimisation(parts.options, cut),
        capacity=own.buffer or 2 * sum(len(experience.classes) for experience in parts.stream),
        replay_batch=own.replay_batch,
        coefficient=own.replay_coefficient,
        policy=own.buffer_policy,
        seed=parts.seed,
    )


def _idle(options: Options, cut: Cut | None) -> set[str]:
    classifier = cut is not None and cut.is_classifier
    return frozen_trunk_idle(options, cut) | (set() if classifier else {"classifier_lr"})


def _space(options: Options) -> dict[str, tuple[float, ...]]:
    own = options[Replay]
    return {"lr": around(options[Optimiser].lr, 3), "replay_coefficient": around(own.replay_coefficient, 2)}


RECIPE = Recipe(
    name="replay",
    label="LR",
    what="latent replay: the first k blocks are frozen; stored features of old images are mixed in.",
    order=2,
    colours=("#b8578f", "#d0587e", "#d65a4a", "#cc6a20", "#b8791a"),
    groups=(Optimiser, FirstExperience, FrozenTrunk, TailStart, ClassifierRate, Heads, Replay),
    build=_build,
    has_depth=True,
    short=("lr", "latent-replay"),
    presets={"tuned": {"tail_start": "fresh"}},
    idle=_idle,
    check=check_trunk,
    space=_space,
)
