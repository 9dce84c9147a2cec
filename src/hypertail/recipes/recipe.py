"""A recipe: everything the software knows of one strategy."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from hypertail.errors import ConfigError
from hypertail.nets.body import headless
from hypertail.nets.models import Cut
from hypertail.nets.standardise import Restore
from hypertail.recipes.options import OptionGroup, Options
from hypertail.strategies import Strategy, Trunk
from hypertail.streams import Stream

Role = Literal["learner", "lower", "upper"]


@dataclass(frozen=True, eq=False)
class Parts:
    """What a builder makes a strategy of.

    Attributes:
        options: of the run, none left open.
        stream: gives class counts.
        seed: of all that is random.
        device: where it is to learn.
        model: the main model with fresh weights.
        cut: where it is cut, as shapes; None for a strategy without a depth.
        trunk: the layers before the cut, or None.
        tail: those behind it, freshly initialised, or None.
        make_tail: (task, classes) -> a tail of a task's own, freshly initialised.
        own_tail: the tail that was trained with the trunk, without its classifier; None where there is none.
    """

    options: Options
    stream: Stream
    seed: int
    device: torch.device | str
    model: nn.Sequential
    cut: Cut | None
    trunk: Trunk | None
    tail: nn.Module | None
    make_tail: Callable[[int, int], nn.Module]
    own_tail: nn.Module | None = None

    def pretrained(self) -> tuple[Trunk, nn.Module, int]:
        """Trunk, the tail that was trained with it and the size of the vectors that this gives.

        Where a strategy is only described, and nothing was trained, a fresh tail stands in for it.
        """
        trunk, tail, _ = self.at_cut()
        trunk.freeze()
        body, width = headless(tail)
        return trunk, body if self.own_tail is None else self.own_tail, width

    def from_own_tail(self) -> tuple[Trunk, nn.Module]:
        """A trunk and a tail with the values that it had after the training of the trunk, and a fresh classifier.

        The tail learned from features as they were, which the trunk gives again (`Restore`). Where a strategy is only
        described, and nothing was trained, the fresh tail stands in.
        """
        trunk, tail, _ = self.at_cut()
        if self.own_tail is None:
            trunk.freeze()
            return trunk, tail
        body, module = self.own_tail, trunk.module
        if isinstance(body, nn.Sequential) and isinstance(body[0], Restore):
            restore, body = body
            module = nn.Sequential(module, restore)
        begun = copy.deepcopy(tail)
        begun.load_state_dict(body.state_dict(), strict=False)
        return Trunk(module, learns=False), begun

    def at_cut(self) -> tuple[Trunk, nn.Module, Cut]:
        """Trunk, tail and cut of a strategy that has a depth."""
        if self.trunk is None or self.tail is None or self.cut is None:
            raise TypeError("a recipe with has_depth=False builds without trunk and tail")
        return self.trunk, self.tail, self.cut


@dataclass(frozen=True, eq=False)
class Recipe:
    """Everything the software knows of one strategy.

    Attributes:
        name: as on the command line; a strategy with a depth is called `name-depth`, as in `replay-2`.
        label: in tables: `LR` stands for LR-2.
        what: one sentence that goes on from the label.
        order: of rows and lines; learners lie between naive (0) and the references (from 90).
        colours: one, or one for each depth.
        groups: classes of its options, its own and those of `recipes.shared`.
        build: makes the strategy.
        has_depth: whether it learns behind a frozen trunk, so that the main model is cut.
        full: depth 0 is named `full` and labelled F, not a depth among others.
        role: a `learner` that is compared, or a `lower` or `upper` reference line.
        reference: what a reference does that a learner may not, for sentences and notes: "one stored tail per
            experience", "Separate stores one tail per experience".
        norm_follows: the tail takes the normalisation that an option of this name says.
        short: names that stand for it on the command line and in older files, and for depth 0 if they end in `-full`.
        presets: preset -> values of its own options that differ from their defaults.
        defaults: (options, cut) -> what options that are left open (None) stand for.
        idle: (options, cut) -> names of options that have no effect with these values.
        check: refuses options that do not go together; given options, cut and the side of the images in pixels, where
            these are known.
        space: options -> what `hypertail tune` tries unless told; by default the learning rate.
    """

    name: str
    label: str
    what: str
    order: float
    colours: tuple[str, ...]
    groups: tuple[type[OptionGroup], ...]
    build: Callable[[Parts], Strategy]
    has_depth: bool = False
    full: bool = False
    role: Role = "learner"
    reference: tuple[str, str] = ("", "")
    norm_follows: str = ""
    short: tuple[str, ...] = ()
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    defaults: Callable[[Options, Cut | None], Mapping[str, Any]] = lambda options, cut: {}
    idle: Callable[[Options, Cut | None], Collection[str]] = lambda options, cut: ()
    check: Callable[[Options, Cut | None, int | None], None] = lambda options, cut, pixels: None
    space: Callable[[Options], Mapping[str, tuple[Any, ...]]] = lambda options: learning_rate(options)

    def label_at(self, depth: int | str | None) -> str:
        """The name that tables use at a depth: LR-2, HN-F, Naive."""
        if depth is None:
            return self.label
        return f"{self.label}-{'F' if depth == 'full' or (self.full and depth == 0) else depth}"

    def colour_at(self, depth: int | None) -> str:
        """The colour of its lines and bars."""
        return self.colours[min(depth or 0, len(self.colours) - 1)]


def learning_rate(options: Options) -> Mapping[str, tuple[Any, ...]]:
    """What to try of any strategy that has one: its learning rate."""
    return {"lr": around(options.flat()["lr"], 3)} if "lr" in options else {}


def around(value: float, factor: float) -> tuple[float, ...]:
    """A value, a smaller and a larger one, to be tried."""
    return tuple(sorted({float(f"{value * by:.3g}") for by in (1 / factor, 1, factor)}))


def begins_pretrained(options: Options, cut: Cut | None) -> bool:
    """Whether a tail begins as it was trained with the trunk."""
    return can_begin_pretrained(options, cut) and options.get("tail_start") == "pretrained"


def can_begin_pretrained(options: Options, cut: Cut | None) -> bool:
    """Whether there is a pretrained tail to begin with: a trunk trained alone, and more than a classifier above it."""
    return options.get("trunk_training") == "alone" and (cut is None or (cut.has_trunk and not cut.is_classifier))


_OF_ITS_TRAINING = {"trunk_rotations", "trunk_schedule"}
"""Options of a trunk that is trained alone."""


def frozen_trunk_idle(options: Options, cut: Cut | None) -> set[str]:
    """Options of the trunk without effect: all where nothing is frozen, some where it learns with the tail."""
    idle: set[str] = set()
    if cut is not None and not cut.has_trunk:
        idle |= {"trunk_training", "trunk_statistics", "standardise", "trunk_epochs", *_OF_ITS_TRAINING}
    if options.get("trunk_training") == "with-tail":
        idle |= _OF_ITS_TRAINING
    if not can_begin_pretrained(options, cut):
        idle.add("tail_start")
    return idle


def check_trunk(options: Options, cut: Cut | None, pixels: int | None) -> None:
    """Refuse a trunk trained alone that takes the statistics of each batch.

    Raises:
        ConfigError: it is asked for.
    """
    batch = options.get("trunk_statistics") == "batch" and options.get("trunk_training") == "alone"
    if batch and cut is not None and cut.has_trunk:
        raise ConfigError(
            "trunk with the statistics of each batch",
            required="trunk-training with-tail, as in the authors' code",
            found="trunk-training alone",
            hint="Use --trunk-training with-tail --no-standardise, or --trunk-statistics fixed.",
        )


def check_pretrained(options: Options, cut: Cut | None, pixels: int | None) -> None:
    """Refuse a strategy that needs a pretrained tail where there is none.

    Raises:
        ConfigError: the trunk is not trained alone, or nothing is frozen.
    """
    check_trunk(options, cut, pixels)
    if options.get("trunk_training") != "alone" or (cut is not None and not cut.has_trunk):
        raise ConfigError(
            "strategy above a pretrained tail",
            required="a trunk trained alone (trunk-training alone), and a depth of 1 or more",
            found=f"trunk-training {options.get('trunk_training')}" if cut is None or cut.has_trunk else "depth 0",
            hint="Use --trunk-training alone and a depth from 1 on.",
        )


ALONE = {"trunk_training": "alone", "trunk_statistics": "fixed"}
"""Of presets in which other strategies learn their trunk with the first tail."""
