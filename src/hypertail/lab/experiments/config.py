"""What one run is: a stream, a strategy at a depth, a seed, a length and options."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, TypeVar, get_args

from hypertail.errors import ConfigError, check_choice, check_range, unknown_name
from hypertail.nets.models import USUAL, Cut, cut_of, main_model
from hypertail.recipes.build import settled
from hypertail.recipes.catalogue import (
    option_types,
    parse_strategies,
    recipe_of,
    strategies_with_depth,
    usual_options,
)
from hypertail.recipes.options import Options
from hypertail.recipes.recipe import Recipe
from hypertail.streams.sources.named import Augment
from hypertail.training.trainer import Split

T = TypeVar("T")

BEFORE: dict[str, Any] = {
    "channel_vectors": "learned",
    "vectors": "gaussian",
    "trunk_rotations": False,
    "tail_start": "fresh",
    "classifier": "generated",
    "classifier_lr": None,
    "task_lr": None,
    "adapter_rank": 0,
    "classifier_rank": 0,
    "reference_steps": 1,
}
"""Values for options that older runs lack, where they are not the defaults of today."""

LATER: dict[str, Any] = {"images_per_class": None, "model": USUAL, "weights": None, "augment": None}
"""Options of every run that came later, each with the value that runs have without it: it is no part of identities."""

RENAMED = {"residual_rank": "adapter_rank"}
"""Name in older files -> name of today."""


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides the outcome of one run.

    Attributes:
        stream: name of a stream.
        strategy: name of a recipe; a shorter one is replaced by it.
        depth: stages of the main model that are frozen after its first, from 0; None for strategies without a trunk,
            whatever was given. 0 with `hn` is HN-F.
        model: name of the main model.
        preset: the options that are not given are those of this preset.
        experiences: learn the first so many; None for all.
        images_per_class: learn at most so many training images of each class, chosen by the seed; None for all.
        validation: share of the training data held out, out of the images per class if they are limited.
        measure_on: accuracies are measured on test data, or on validation data to choose hyper-parameters.
        eval_every: also measure every so many epochs; 0: only after each experience.
        augment: what is random in training images; None for what fits the stream (`build_stream`).
        weights: digest of the file whose weights the trunk has (`backbones`); None where it is trained on e_1.
        options: of the strategy; None for those of the preset. Given as a dictionary, values that differ from the
            preset's. What only other strategies have is left out.

    Raises:
        ConfigError: an unknown name, a value out of range, or options that do not go together.
    """

    stream: str
    strategy: str
    depth: int | None = None
    model: str = USUAL
    preset: str = "tuned"
    seed: int = 0
    epochs: int = 10
    batch_size: int = 64
    experiences: int | None = None
    images_per_class: int | None = None
    validation: float = 0.0
    measure_on: Split = "test"
    image_size: int | None = None
    classes_per_experience: int | None = None
    eval_every: int = 0
    weights: str | None = None
    augment: Augment | None = None
    options: Options = None  # type: ignore[assignment]  # filled in below

    def __post_init__(self) -> None:
        recipe = recipe_of(self.strategy)
        object.__setattr__(self, "strategy", recipe.name)
        if not recipe.has_depth:
            object.__setattr__(self, "depth", None)
        if recipe.has_depth and self.depth not in range(main_model(self.model).deepest + 1):
            raise ConfigError(
                f"depth of {self.strategy}",
                required=f"0 to {main_model(self.model).deepest}" + (", or full" if recipe.full else ""),
                found=str(self.depth),
                hint="Give --depth.",
            )
        main_model(self.model)
        object.__setattr__(self, "options", _options_of(recipe.name, self.preset, self.options))
        options = self.options
        self._check_numbers()
        if self.measure_on == "validation" and not self.validation > 0:
            raise ConfigError(
                "accuracies on validation data",
                required="a share of the training data held out",
                found=f"--validation {self.validation:g}",
                hint="Add --validation 0.1, say.",
            )
        recipe.check(options, self.cut, self.image_size)
        if self.weights is not None and not (self.depth and options.get("trunk_training") == "alone"):
            raise ConfigError(
                f"pretrained weights for {self.label}",
                required="a strategy with a frozen trunk (--depth 1 or more, --trunk-training alone)",
                found="a strategy that trains all layers itself",
                hint="Leave --weights out for this strategy.",
            )

    def _check_numbers(self) -> None:
        for name in ("epochs", "experiences"):
            check_range(f"--{name}", getattr(self, name), 1)
        check_range("--batch-size", self.batch_size, 2)
        check_range("--images-per-class", self.images_per_class, 2)
        check_range("--eval-every", self.eval_every, 0)
        if self.augment is not None:
            check_choice("augmentation", self.augment, get_args(Augment))
        if not 0 <= self.validation < 1:
            raise ConfigError(
                "option --validation",
                required="0 or more, less than 1",
                found=str(self.validation),
                hint="Give --validation a value in that range.",
            )

    @property
    def recipe(self) -> Recipe:
        """What is known of the strategy."""
        return recipe_of(self.strategy)

    @property
    def cut(self) -> Cut | None:
        """Where the main model is cut, as shapes; None for a strategy without a depth."""
        return cut_of(self.model, self.depth) if self.recipe.has_depth and self.depth is not None else None

    @property
    def depth_name(self) -> int | str | None:
        """The depth as `run.json` holds it: `full` for the full hypernetwork."""
        return "full" if self.recipe.full and self.depth == 0 else self.depth

    @property
    def label(self) -> str:
        """HN-3, HN-F, LR-2, Separate-3, Naive, EWC, Joint."""
        return self.recipe.label_at(self.depth)

    @property
    def run_name(self) -> str:
        """Name of the run's directory."""
        stream = "".join(c if c.isalnum() or c in "-_." else "-" for c in self.stream).strip("-.")
        model = "" if self.model == USUAL else f"{self.model}-"
        model += "" if self.weights is None else "pretrained-"
        model += "" if self.augment is None else f"augment-{self.augment}-"
        return f"{stream[:60]}-{model}{self.label.lower()}-{self.preset}-e{self.epochs}-seed{self.seed}"

    def with_options(self, **values: Any) -> RunConfig:
        """The same run with other values for some options.

        Raises:
            ConfigError: the strategy has no such option, or a value is out of range.
        """
        return replace(self, options=self.options.replace(**values))

    def settled(self) -> RunConfig:
        """The same run with what follows from the tail spelled out, as records need it: usual values may change."""
        return replace(self, options=settled(self.strategy, self.options, self.model, self.depth))

    def to_json(self) -> dict[str, Any]:
        """Every option as JSON holds it; those of the strategy stand under `method`."""
        plain = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "options"}
        content: dict[str, Any] = json.loads(json.dumps({**plain, "method": self.options.flat()}))
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> RunConfig:
        """The options that `to_json` gave, also in an earlier version: what it did not have yet gets its default.

        Raises:
            ConfigError: there is no such option (a newer hypertail wrote it), or a value is out of range.
        """
        names = [item.name for item in fields(cls) if item.name != "options"]
        _known(content, [*names, "method", "views"])
        method = content.get("method", {})
        _known(method, [*option_types(), *RENAMED])
        values = {RENAMED.get(name, name): _value(value) for name, value in method.items()}
        if "tail_start" not in values and values.get("hyper_lr", 0) is None:  # which stood for --lr
            values["hyper_lr"] = values.get("lr", 1e-3)
        values["trunk_schedule"] = values.get("trunk_schedule") or values.get("schedule", "cosine")  # as the tail's
        if "views" in content:  # where earlier versions had it
            values["views"] = content["views"]
        try:
            usual = usual_options(content["strategy"], "tuned").updated({**BEFORE, **values})
            return cls(**{name: content[name] for name in names if name in content}, options=usual)
        except (TypeError, KeyError) as error:
            raise _not_options(str(error)) from error

    def identity(self) -> dict[str, Any]:
        """What decides the outcome: two configurations with the same identity are the same run.

        Options without effect on this strategy are left out, as are the preset's name (it stands for its options) and
        what only decides what is recorded.
        """
        return dict(_identity(self))

    def records(self, wanted: RunConfig) -> bool:
        """Whether a run of this configuration records all that one of `wanted` would (curves, cosines)."""
        often = wanted.eval_every == 0 or (self.eval_every > 0 and wanted.eval_every % self.eval_every == 0)
        return often and all(
            self.options.get(name) == value
            for name, value in wanted.options.flat().items()
            if name in wanted.options.recorded and value
        )


def _value(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _known(content: object, names: Sequence[str]) -> None:
    if not isinstance(content, Mapping):
        raise _not_options(type(content).__name__)
    for name in content:
        if name not in names:
            raise unknown_name("option of a run", str(name), names)


def _not_options(found: str) -> ConfigError:
    return ConfigError(
        "options of a run",
        required="those that hypertail writes, as JSON",
        found=found,
        hint="The file is damaged or was edited by hand: run again.",
    )


@lru_cache(maxsize=4096)
def _identity(config: RunConfig) -> dict[str, Any]:
    config = config.settled()
    content = config.to_json()
    options = content.pop("method")
    without = {"preset", "eval_every", *(name for name, usual in LATER.items() if content[name] == usual)}
    content = {name: value for name, value in content.items() if name not in without}
    idle = {*config.recipe.idle(config.options, config.cut), *config.options.recorded}
    if config.weights is not None:  # nothing is trained on e_1
        idle |= {"trunk_epochs", "trunk_rotations", "trunk_schedule"}
    options |= {"trunk_epochs": config.epochs} if options.get("trunk_epochs", 0) is None else {}
    return content | {name: value for name, value in options.items() if name not in idle}


def expand(
    names: Sequence[str],
    depths: Sequence[str],
    seeds: Sequence[int],
    base: RunConfig,
    options: Options | Mapping[str, Any] | None = None,
) -> list[RunConfig]:
    """One configuration per (seed, strategy, depth), none twice; everything else as in `base`.

    Args:
        names: of strategies, `hn` or `hn-3`.
        depths: for names without one.
        seeds: a run for each.
        base: what the runs share; its own strategy and options do not matter.
        options: groups of options, or single values, for those strategies that have them; all others are those of the
            preset of `base`.

    Raises:
        ConfigError: an unknown name or depth, no seed, or options that do not go together.
    """
    pairs = expand_strategies(names, depths)
    return [
        replace(base, strategy=name, depth=depth, seed=seed, options=_options_of(name, base.preset, options))
        for seed, (name, depth) in itertools.product(dict.fromkeys(_some("--seeds", seeds)), pairs)
    ]


def expand_strategies(names: Sequence[str], depths: Sequence[str]) -> list[tuple[str, int | None]]:
    """Pairs of strategy and depth (`parse_strategies`), at least one.

    Raises:
        ConfigError: an unknown name or depth, with the nearest valid one, or none at all.
    """
    some = _some("--strategy", names)
    return parse_strategies(some, _some("--depth", depths) if strategies_with_depth(some) else depths)


def _options_of(strategy: str, preset: str, options: Options | Mapping[str, Any] | None) -> Options:
    usual = usual_options(strategy, preset)
    if isinstance(options, Options):
        return options.only(recipe_of(strategy).groups, usual)
    for name in options or {}:
        if name not in option_types():
            raise unknown_name("option", name, option_types())
    return usual.updated(options or {})


def _some(option: str, values: Sequence[T]) -> Sequence[T]:
    if not values:
        raise ConfigError(
            f"option {option}",
            required="at least one value",
            found="none",
            hint=f"Name one after {option}, or leave {option} out.",
        )
    return values
