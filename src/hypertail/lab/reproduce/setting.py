"""How a table or figure is to be reproduced: preset, scale, seeds, and which of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hypertail.errors import ConfigError, unknown_name
from hypertail.lab.experiments.config import RunConfig, expand_strategies
from hypertail.nets.models import USUAL, main_model
from hypertail.recipes.catalogue import usual_options
from hypertail.recipes.presets import check_preset
from hypertail.streams import STREAMS


@dataclass(frozen=True)
class Scale:
    """How long and on what.

    Attributes:
        what: for the help text.
        epochs: passes over each experience.
        trunk_epochs: passes over the first for the trunk (naive, EWC: for the whole model); None: as many as `epochs`.
        follows_preset: whether a preset that says how long a trunk learns goes before `trunk_epochs`.
        seeds: a run for each.
        views: cached augmentations of each experience; None: a new one each epoch.
        digits: learn the embedded digits in place of every stream, on which numbers mean nothing.
        options: other options of every run.
        values: of options, whatever the preset.
    """

    what: str
    epochs: int
    trunk_epochs: int | None
    seeds: tuple[int, ...]
    views: int | None
    follows_preset: bool = False
    digits: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


SCALES: Mapping[str, Scale] = {
    "smoke": Scale(
        "seconds, on the embedded digits: shows that it works, the numbers mean nothing",
        epochs=1,
        trunk_epochs=1,
        seeds=(0,),
        views=1,
        digits=True,
        options={"experiences": 2},
        values={"fisher_samples": 8},
    ),
    "cpu": Scale(
        "a night on two cores: 10 epochs, 60 for the trunk, three seeds",
        epochs=10,
        trunk_epochs=30,
        follows_preset=True,
        seeds=(0, 1, 2),
        views=5,
    ),
    "full": Scale("the paper's: 100 epochs, three seeds", epochs=100, trunk_epochs=None, seeds=(0, 1, 2), views=None),
}
"""By name."""

TINY_PIXELS = 32
"""Tiny ImageNet is brought to 32 pixels a side, as the authors' scripts do (the paper's Table 6 counts 64)."""


@dataclass(frozen=True)
class Setting:
    """What the user asks of every target.

    Attributes:
        preset: tuned, say.
        scale: smoke, cpu or full.
        seeds: a run for each; None: the scale's.
        epochs: in place of the scale's; the trunk keeps its own where the scale has one.
        strategies: only these rows, `hn-3`, or `lr` for all depths; none: the target's usual ones.
        streams: only these streams; none: all.
        data: root of local datasets, for what is made from images directly.
        weights: file of the weights of a pretrained main model, for targets that show one beside that of e_1.
    """

    preset: str = "tuned"
    scale: str = "cpu"
    seeds: tuple[int, ...] | None = None
    epochs: int | None = None
    strategies: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    data: Path | None = None
    weights: Path | None = None

    def __post_init__(self) -> None:
        check_preset(self.preset)
        if self.scale not in SCALES:
            raise unknown_name("scale", self.scale, SCALES)
        if self.seeds is not None and not self.seeds:
            raise ConfigError(
                "option --seeds",
                required="at least one value",
                found="none",
                hint="Name one after --seeds, or leave --seeds out.",
            )
        for name in self.streams:
            if name not in STREAMS and not name.startswith("pair:"):
                raise unknown_name("stream", name, STREAMS)
        expand_strategies(self.strategies or ("naive",), ("0",))

    @property
    def size(self) -> Scale:
        """The scale, with `epochs` and `seeds` if they were asked for."""
        scale = SCALES[self.scale]
        epochs = scale.epochs if self.epochs is None else self.epochs
        seeds = scale.seeds if self.seeds is None else tuple(dict.fromkeys(self.seeds))
        return replace(scale, epochs=epochs, seeds=seeds)

    def chosen(self, usual: Sequence[str], known: Sequence[str]) -> list[str]:
        """The rows to make, of those a target knows: those asked for, in the target's order, or its usual ones.

        Args:
            usual: rows made unless told, such as `hn-3`.
            known: all rows there can be.
        """
        if not self.strategies:
            return [name for name in known if name in usual]
        asked = set(expand_strategies(self.strategies, [str(depth) for depth in range(main_model(USUAL).deepest + 1)]))
        return [name for name in known if expand_strategies((name,), ())[0] in asked]

    def among(self, streams: Sequence[str]) -> list[str]:
        """Those of a target's streams that were asked for; all if none was."""
        return [name for name in streams if not self.streams or name in self.streams]

    def stream(self, name: str) -> str:
        """The stream that is learned where the paper learns `name`: another one at scale smoke only."""
        return "digits" if self.size.digits else name

    def config(
        self, stream: str, strategy: str, *, values: Mapping[str, Any] | None = None, **fields: Any
    ) -> tuple[RunConfig, ...]:
        """The runs of one strategy on one stream, one for each seed.

        Args:
            stream: as the paper has it.
            strategy: with its depth, `hn-3`, `lr-2`, `hn-f`, `naive`.
            values: of options that differ from the preset's; those that the strategy lacks are left out.
            fields: other fields of `RunConfig` that differ from the scale's, `eval_every=1` say.
        """
        ((name, depth),) = expand_strategies((strategy,), ())
        scale = self.size
        usual = usual_options(name, self.preset)
        own = usual.get("trunk_epochs") if scale.follows_preset else None
        chosen = {"trunk_epochs": own or scale.trunk_epochs, "views": scale.views, **scale.values, **(values or {})}
        others: dict[str, Any] = {**scale.options, **fields}
        if stream == "split-tinyimagenet" and not scale.digits:
            others.setdefault("image_size", TINY_PIXELS)
        base = RunConfig(
            stream=self.stream(stream),
            strategy=name,
            depth=depth,
            preset=self.preset,
            epochs=scale.epochs,
            options=usual.updated(chosen),
        )
        return tuple(replace(base, seed=seed, **others) for seed in scale.seeds)
