"""What one run is: a stream, a strategy at a depth, a seed, a length and a method."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from hypertail.errors import ConfigError, unknown_name
from hypertail.lab.method import Method
from hypertail.lab.runfile import label_for
from hypertail.training.trainer import Split

STRATEGIES: dict[str, str] = {
    "naive": "trains the whole model on one experience after another",
    "ewc": "naive plus the quadratic penalty of elastic weight consolidation",
    "lr": "latent replay at a depth: frozen trunk, stored features replayed into the tail",
    "hn": "partial hypernetwork at a depth: frozen trunk, generated tail; depth full is HN-F",
    "separate": "frozen trunk and one stored tail per task: the reference without forgetting",
    "joint": "the whole model on all experiences at once: the upper reference",
}
"""Strategy name -> what it does."""

_WITH_DEPTH = ("lr", "hn", "separate")
_ALIASES = {"latent-replay": "lr", "partial-hypernet": "hn", "hypernetwork": "hn", "full-hypernet": "hn-f"}


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides the outcome of one run.

    Attributes:
        depth: frozen residual blocks, 0 to 4; None for strategies without a trunk. 0 with `hn` is HN-F.
        experiences: learn the first so many; None for all.
        validation: share of the training data held out.
        measure_on: accuracies are measured on test data, or on validation data to choose hyper-parameters.
        views: distinct augmentations per experience of which trunk features are cached; None: a new one each epoch.
    """

    stream: str
    strategy: str
    depth: int | None = None
    preset: str = "tuned"
    seed: int = 0
    epochs: int = 10
    batch_size: int = 64
    experiences: int | None = None
    validation: float = 0.0
    measure_on: Split = "test"
    image_size: int | None = None
    classes_per_experience: int | None = None
    views: int | None = None
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
                mend="Give --depth.",
            )
        method = self.method
        if method.standardise and method.trunk_training == "with-tail":
            raise ConfigError(
                "features standardised at the cut",
                required="a trunk trained alone, before any tail sees its features",
                found="trunk-training with-tail",
                mend="Use --trunk-training alone or --no-standardise.",
            )

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

    def to_json(self) -> dict[str, Any]:
        """Every option, nested, as JSON holds it."""
        content: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return content


def parse_depth(text: str) -> int:
    """`0`..`4`, or `full` (`f`) for 0.

    Raises:
        ConfigError: anything else.
    """
    named = {"full": 0, "f": 0} | {str(depth): depth for depth in range(5)}
    if text.lower() not in named:
        raise ConfigError(
            f"depth '{text}'", required="0 to 4, or full", found=text, mend="Use --depth 3, say."
        )
    return named[text.lower()]


def expand_strategies(names: Sequence[str], depths: Sequence[str]) -> list[tuple[str, int | None]]:
    """Pairs of strategy and depth.

    A name may carry its depth (`hn-3`, `lr-2`, `hn-f`, `separate-4`); one that does not is combined with every depth.

    Raises:
        ConfigError: an unknown name or depth, with the nearest valid one.
    """
    pairs: list[tuple[str, int | None]] = []
    for given in names:
        name = _ALIASES.get(given.lower(), given.lower())
        stem, _, suffix = name.rpartition("-")
        if name in _WITH_DEPTH:
            pairs += [(name, parse_depth(depth)) for depth in depths]
        elif name in STRATEGIES:
            pairs.append((name, None))
        elif stem in _WITH_DEPTH:
            pairs.append((stem, parse_depth(suffix)))
        else:
            raise unknown_name("strategy", given, STRATEGIES)
    return list(dict.fromkeys(pairs))


def expand(
    names: Sequence[str], depths: Sequence[str], seeds: Sequence[int], base: RunConfig
) -> list[RunConfig]:
    """One configuration per (seed, strategy, depth); everything else as in `base`."""
    return [
        RunConfig(**{**vars(base), "strategy": name, "depth": depth, "seed": seed})
        for seed, (name, depth) in itertools.product(seeds, expand_strategies(names, depths))
    ]
