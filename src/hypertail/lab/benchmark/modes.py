"""What the benchmark compares: models, modes of their steps, and the pairs of modes that are quoted as ratios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from hypertail.errors import ConfigError, unknown_name
from hypertail.lab.experiments.config import RunConfig
from hypertail.nets.models import USUAL, main_model
from hypertail.recipes.catalogue import label_for, usual_options
from hypertail.training.precision import Precision

Model = tuple[str, int | None]
"""Strategy and depth."""

MODELS = ("hn-f", "hn-1", "hn-2", "hn-3", "hn-4", "lr-3", "naive")
"""What is timed by default."""


@cache
def known_models() -> dict[str, Model]:
    """What can be timed, by the names that tables use."""
    depths = range(main_model(USUAL).deepest + 1)
    shorts = (("hn", "hn"), ("lr", "replay"))
    return {
        "hn-f": ("hn", 0),
        **{f"{short}-{depth}": (strategy, depth) for short, strategy in shorts for depth in depths},
        "naive": ("naive", None),
    }


def named_models(names: Sequence[str]) -> dict[str, Model]:
    """Models by the names that tables use.

    Raises:
        ConfigError: an unknown name, or none at all.
    """
    if not names:
        raise ConfigError("models of a benchmark", required="at least one", found="none", hint="Name hn-3, say.")
    chosen, known = {}, known_models()
    for name in names:
        if name.lower() not in known:
            raise unknown_name("model", name, known)
        strategy, depth = known[name.lower()]
        chosen[label_for(strategy, "full" if (strategy, depth) == ("hn", 0) else depth)] = (strategy, depth)
    return chosen


@dataclass(frozen=True)
class Mode:
    """One way to take a step, or a forward pass to set beside it.

    Attributes:
        title: its name in tables.
        what: a `strategy`; a `bare` loop over its tail, or over the whole model where there is no trunk; or a batch
            through the frozen `trunk`.
        preset: of the strategy.
        precision: None for the one that `--speed auto` chooses.
        output_term: whether the preset keeps its output regularisation.
        on_images: the strategy's own trunk takes part in each step; otherwise steps start from features.
    """

    title: str
    what: Literal["strategy", "bare", "trunk"] = "strategy"
    preset: str = "tuned"
    precision: Precision | None = "full"
    output_term: bool = True
    on_images: bool = False

    def suits(self, model: Model) -> bool:
        """Whether the mode differs from others for `model`."""
        strategy, depth = model
        if self.what == "trunk" or self.on_images:
            return bool(depth)
        return self.output_term or strategy == "hn"

    def precision_in(self, chosen: Precision) -> Precision:
        """That of its steps, where `chosen` is that of the model."""
        return self.precision or chosen

    def config(self, model: Model, batch: int) -> RunConfig:
        """The run whose steps are timed."""
        strategy, depth = model
        changed = {} if self.output_term else {"output_weight": 0.0}
        options = usual_options(strategy, self.preset).updated(changed)
        return RunConfig("random", strategy, depth, preset=self.preset, batch_size=batch, options=options)


MODES = {
    "floor": Mode("bare loop", "bare"),
    "floor_mixed": Mode("bare loop, mixed", "bare", precision="mixed"),
    "tuned": Mode("tuned", precision=None),
    "tuned_full": Mode("tuned, float32"),
    "weight_space": Mode("weight-space", precision=None, output_term=False),
    "weight_space_full": Mode("weight-space, float32", output_term=False),
    "printed": Mode("printed", preset="printed"),
    "released": Mode("released", preset="released"),
    "released_with_trunk": Mode("released + trunk", preset="released", on_images=True),
    "trunk_forward": Mode("trunk alone", "trunk"),
}

FULL_OF = {"tuned": "tuned_full", "weight_space": "weight_space_full"}
"""Mode at the chosen precision -> the same at full precision; they are one where full is chosen."""


def modes_of(model: Model, precision: Precision) -> list[str]:
    """The modes that apply to `model`, each once: at full precision `tuned_full` would repeat `tuned`."""
    twice = set(FULL_OF.values()) if precision == "full" else set()
    return [name for name, mode in MODES.items() if mode.suits(model) and name not in twice]


def floor_of(precision: Precision) -> str:
    """The bare loop at that precision."""
    return "floor_mixed" if precision == "mixed" else "floor"


RATIOS = {
    "ratio_to_released": ("released", "tuned"),
    "ratio_to_released_weight_space": ("released", "weight_space"),
    "ratio_to_released_float32": ("released", "tuned_full"),
    "ratio_to_released_weight_space_float32": ("released", "weight_space_full"),
    "ratio_to_released_printed": ("released", "printed"),
    "ratio_to_released_with_trunk": ("released_with_trunk", "tuned"),
    "ratio_to_released_with_trunk_weight_space": ("released_with_trunk", "weight_space"),
    "ratio_to_floor": ("tuned", "floor"),
    "ratio_to_floor_weight_space": ("weight_space", "floor"),
    "ratio_to_floor_printed": ("printed", "floor"),
    "ratio_to_floor_float32": ("tuned_full", "floor"),
    "ratio_to_floor_weight_space_float32": ("weight_space_full", "floor"),
}
"""Key in the JSON file -> the mode whose median is divided by that of another."""
