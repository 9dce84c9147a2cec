"""What one run is: a stream, a strategy at a depth, a seed, a length and a method."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from typing import Any, TypeVar

from hypertail.errors import ConfigError, unknown_name
from hypertail.lab.experiments.identity import identity
from hypertail.lab.records.runfile import label_for
from hypertail.recipes.method import Method
from hypertail.training.trainer import Split

T = TypeVar("T")

STRATEGIES: dict[str, str] = {
    "naive": "one model, trained on and on: nothing against forgetting",
    "ewc": "naive, with elastic weight consolidation",
    "lr": "latent replay: frozen trunk, stored features replayed into the tail",
    "hn": "partial hypernetwork: frozen trunk, generated tail (depth full: HN-F)",
    "separate": "frozen trunk, one stored tail per task: cannot forget",
    "joint": "the whole model on all experiences at once: the upper reference",
}
"""Strategy name -> what it does."""

_WITH_DEPTH = ("lr", "hn", "separate")
_ALIASES = {
    "latent-replay": "lr",
    "hypernet": "hn",
    "hypernetwork": "hn",
    "partial-hypernet": "hn",
    "partial-hypernetwork": "hn",
    "full-hypernet": "hn-f",
    "full-hypernetwork": "hn-f",
    "finetune": "naive",
    "multitask": "joint",
}

_LEAST: dict[str, float] = {
    **dict.fromkeys(("epochs", "experiences", "views", "trunk_epochs", "head_width", "reference_steps"), 1),
    **dict.fromkeys(("embedding", "mlp", "rank", "output_tasks", "buffer", "replay_batch", "fisher_samples"), 1),
    **dict.fromkeys(("eval_every", "penalty_weight", "damping", "output_weight", "replay_coefficient"), 0),
    **dict.fromkeys(("ewc_weight", "adapter_rank", "classifier_rank"), 0),
    **dict.fromkeys(("batch_size", "images_per_class"), 2),
}
"""Option -> the smallest value that makes sense; None, where it is a value, always does."""


BEFORE: dict[str, Any] = {
    "channel_vectors": "learned",
    "vectors": "gaussian",
    "trunk_rotations": False,
    "classifier_lr": None,
    "task_lr": None,
    "adapter_rank": 0,
    "classifier_rank": 0,
    "reference_steps": 1,
}
"""Switch -> what was done before there was such a switch, where that is not its default: how older runs are read."""


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides the outcome of one run.

    Attributes:
        depth: frozen residual blocks, 0 to 4; None for strategies without a trunk. 0 with `hn` is HN-F.
        experiences: learn the first so many; None for all.
        images_per_class: learn at most so many training images of each class, chosen by the seed; None for all.
        validation: share of the training data held out, out of the images per class if they are limited.
        measure_on: accuracies are measured on test data, or on validation data to choose hyper-parameters.
        views: distinct augmentations per experience of which trunk features are kept; None: a new one each epoch. On
            held-out data one was 2.5 points worse than five, two 0.3 (benchmarks/README.md).
    """

    stream: str
    strategy: str
    depth: int | None = None
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
    views: int | None = 5
    eval_every: int = 0
    method: Method = field(default_factory=Method)

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise unknown_name("strategy", self.strategy, STRATEGIES)
        if self.strategy in _WITH_DEPTH and self.depth not in range(5):
            raise ConfigError(
                f"depth of {self.strategy}",
                required="0 to 4, or full",
                found=str(self.depth),
                hint="Give --depth.",
            )
        self._check_numbers()
        method = self.method
        if self.measure_on == "validation" and not self.validation > 0:
            raise ConfigError(
                "accuracies on validation data",
                required="a share of the training data held out",
                found=f"--validation {self.validation:g}",
                hint="Add --validation 0.1, say.",
            )
        if method.standardise and method.trunk_training == "with-tail":
            raise ConfigError(
                "features standardised at the cut",
                required="a trunk trained alone, before any tail sees its features",
                found="trunk-training with-tail",
                hint="Use --trunk-training alone or --no-standardise.",
            )
        if self.depth and method.trunk_statistics == "batch" and method.trunk_training == "alone":
            raise ConfigError(
                "trunk with the statistics of each batch",
                required="trunk-training with-tail, as in the authors' code",
                found="trunk-training alone",
                hint="Use --trunk-training with-tail --no-standardise, or --trunk-statistics fixed.",
            )
        if method.norm == "instance" and self.image_size is not None and self.image_size < 9:
            raise ConfigError(
                "image size under instance normalisation",
                required="9 pixels a side or more, so that more than one pixel is left in the last block",
                found=str(self.image_size),
                hint="Use a larger --image-size, or --norm batch.",
            )
        if method.curvature and method.penalty_form == "direct":
            raise ConfigError(
                "penalty weighed by curvature",
                required="the closed form of the penalty",
                found="penalty-form direct",
                hint="Use --penalty-form closed or --no-curvature.",
            )
        if method.per_sample and method.norm != "instance":
            raise ConfigError(
                "one weight set per sample",
                required="norm instance, which keeps no statistics",
                found=f"norm {method.norm}",
                hint="Use --norm instance or --no-per-sample.",
            )

    def _check_numbers(self) -> None:
        values = {**vars(self), **vars(self.method)}
        for name, least in _LEAST.items():
            given = values[name] if isinstance(values[name], tuple) else (values[name],)
            if any(value is not None and not least <= value < math.inf for value in given):
                raise _out_of_range(name, given, f"{least:g} or more")
        for name in ("lr", "hyper_lr", "task_lr", "classifier_lr"):
            if values[name] is not None and not 0 < values[name] < math.inf:
                raise _out_of_range(name, (values[name],), "more than 0")
        if not 0 < self.method.output_share <= 1:
            raise _out_of_range("output_share", (self.method.output_share,), "more than 0, up to 1")
        if not 0 <= self.validation < 1:
            raise _out_of_range("validation", (self.validation,), "0 or more, less than 1")

    @property
    def depth_name(self) -> int | str | None:
        """The depth as `run.json` holds it: `full` for the full hypernetwork."""
        return "full" if self.strategy == "hn" and self.depth == 0 else self.depth

    @property
    def label(self) -> str:
        """HN-3, HN-F, LR-2, Separate-3, Naive, EWC, Joint."""
        return label_for(self.strategy, self.depth_name)

    @property
    def run_name(self) -> str:
        """Name of the run's directory."""
        stream = "".join(c if c.isalnum() or c in "-_." else "-" for c in self.stream).strip("-.")
        return f"{stream[:60]}-{self.label.lower()}-{self.preset}-e{self.epochs}-seed{self.seed}"

    def settled(self) -> RunConfig:
        """The same run with what follows from the depth spelled out, as records need it: usual values may change."""
        return replace(self, method=self.method.at(self.depth))

    def to_json(self) -> dict[str, Any]:
        """Every option, nested, as JSON holds it."""
        content: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> RunConfig:
        """The options that `to_json` gave, also in an earlier version: what it did not have yet gets its default.

        Raises:
            ConfigError: there is no such option (a newer hypertail wrote it), or a value is out of range.
        """
        _known(content, [item.name for item in fields(cls)])
        switches = content.get("method", {})
        _known(switches, [item.name for item in fields(Method)])
        try:
            lists = {name: tuple(value) for name, value in switches.items() if isinstance(value, list)}
            return cls(**{**content, "method": Method(**{**BEFORE, **switches, **lists})})
        except TypeError as error:
            raise _not_options(str(error)) from error

    def identity(self) -> dict[str, Any]:
        """What decides the outcome: two configurations with the same identity are the same run.

        Options without effect on this strategy are left out, as are the preset's name (it stands for its switches) and
        what only decides what is recorded.
        """
        return dict(_identity(self))

    def records(self, wanted: RunConfig) -> bool:
        """Whether a run of this configuration records all that one of `wanted` would (curves, cosines)."""
        often = wanted.eval_every == 0 or (self.eval_every > 0 and wanted.eval_every % self.eval_every == 0)
        return often and (self.method.record_cosine or not wanted.method.record_cosine)


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


def _out_of_range(name: str, found: Sequence[float], required: str) -> ConfigError:
    option = f"--{name.replace('_', '-')}"
    hint = f"Give {option} a value in that range."
    return ConfigError(f"option {option}", required=required, found=" ".join(map(str, found)), hint=hint)


def parse_depth(text: str) -> int:
    """`0`..`4`, or `full` (`f`) for 0.

    Raises:
        ConfigError: anything else.
    """
    named = {"full": 0, "f": 0} | {str(depth): depth for depth in range(5)}
    if text.lower() not in named:
        raise ConfigError(f"depth '{text}'", required="0 to 4, or full", found=text, hint="Use --depth 3, say.")
    return named[text.lower()]


def expand_strategies(names: Sequence[str], depths: Sequence[str]) -> list[tuple[str, int | None]]:
    """Pairs of strategy and depth.

    A name may carry its depth (`hn-3`, `lr-2`, `hn-f`, `separate-4`); one that does not is combined with every depth.

    Raises:
        ConfigError: an unknown name or depth, with the nearest valid one, or none at all.
    """
    pairs: list[tuple[str, int | None]] = []
    for given in _some("--strategy", names):
        name = _ALIASES.get(given.lower(), given.lower())
        stem, _, suffix = name.rpartition("-")
        stem = _ALIASES.get(stem, stem)
        if name in _WITH_DEPTH:
            pairs += [(name, parse_depth(depth)) for depth in _some("--depth", depths)]
        elif name in STRATEGIES:
            pairs.append((name, None))
        elif stem in _WITH_DEPTH:
            pairs.append((stem, parse_depth(suffix)))
        else:
            raise unknown_name("strategy", given, STRATEGIES)
    return list(dict.fromkeys(pairs))


def expand(names: Sequence[str], depths: Sequence[str], seeds: Sequence[int], base: RunConfig) -> list[RunConfig]:
    """One configuration per (seed, strategy, depth), none twice; everything else as in `base`.

    Raises:
        ConfigError: an unknown name or depth, no seed, or options that do not go together.
    """
    pairs = expand_strategies(names, depths)
    return [
        replace(base, strategy=name, depth=depth, seed=seed)
        for seed, (name, depth) in itertools.product(dict.fromkeys(_some("--seeds", seeds)), pairs)
    ]


def _some(option: str, values: Sequence[T]) -> Sequence[T]:
    if not values:
        raise ConfigError(
            f"option {option}",
            required="at least one value",
            found="none",
            hint=f"Name one after {option}, or leave {option} out.",
        )
    return values


@lru_cache(maxsize=4096)
def _identity(config: RunConfig) -> dict[str, Any]:
    return identity(config.settled().to_json())
