"""Groups of options that several strategies have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from tyro.conf import arg

from hypertail.errors import ConfigError, check_range
from hypertail.recipes.options import OptionGroup
from hypertail.strategies.parts.optimisation import OptimizerState, Schedule
from hypertail.strategies.parts.trunk import TrunkStatistics

Start = Literal["pretrained", "fresh"]
TrunkTraining = Literal["alone", "with-tail"]


@dataclass(frozen=True)
class Optimiser(OptionGroup):
    """How weights are learned."""

    heading: ClassVar[str] = "optimiser"

    lr: float = 1e-3
    """Learning rate of Adam (alpha in Eq. 5)."""
    schedule: Schedule = "cosine"
    """Learning rate within each experience: constant, or cosine to zero."""
    optimizer_state: OptimizerState = "fresh"
    """Adam moments at a new experience: fresh, or kept (old momentum then keeps moving shared weights)."""

    def __post_init__(self) -> None:
        check_range("--lr", self.lr, 0, above=True)


@dataclass(frozen=True)
class Heads(OptionGroup):
    """Outputs of the model."""

    heading: ClassVar[str] = "heads"

    head_width: Annotated[int | None, arg(metavar="N")] = None
    """Outputs generated per task; None: the largest number of classes of a task in the stream."""

    def __post_init__(self) -> None:
        check_range("--head-width", self.head_width, 1)


@dataclass(frozen=True)
class FirstExperience(OptionGroup):
    """The length of the first experience."""

    heading: ClassVar[str] = "first experience"

    trunk_epochs: Annotated[int | None, arg(metavar="N")] = 60
    """Epochs of e_1 for the trunk (twice as many with rotations), or the whole model (30); None: as for the others."""

    def __post_init__(self) -> None:
        check_range("--trunk-epochs", self.trunk_epochs, 1)


@dataclass(frozen=True)
class FrozenTrunk(OptionGroup):
    """The trunk, and its features."""

    heading: ClassVar[str] = "frozen trunk"

    trunk_training: TrunkTraining = "alone"
    """Train the trunk alone on the first experience, or together with the tail (Algorithm 1)."""
    trunk_rotations: bool = True
    """A trunk trained alone learns each class at four orientations, each a label of its own, in twice the epochs."""
    trunk_schedule: Schedule = "constant"
    """Learning rate of a trunk trained alone: constant, or cosine to zero, which fits it closer to e_1 alone."""
    trunk_statistics: TrunkStatistics = "fixed"
    """Normalisation statistics of the frozen trunk: fixed, or those of each batch."""
    standardise: bool = True
    """Standardise the features at the cut, per channel, with statistics of e_1 (needs trunk-training alone)."""
    views: Annotated[int | None, arg(metavar="N")] = 5
    """Augmentations of each experience drawn once, behind a frozen trunk, and reused in turn; None: new ones."""

    def __post_init__(self) -> None:
        check_range("--views", self.views, 1)
        if self.standardise and self.trunk_training == "with-tail":
            raise ConfigError(
                "features standardised at the cut",
                required="a trunk trained alone, before any tail sees its features",
                found="trunk-training with-tail",
                hint="Use --trunk-training alone or --no-standardise.",
            )


@dataclass(frozen=True)
class ClassifierRate(OptionGroup):
    """Where a classifier alone is learned."""

    heading: ClassVar[str] = "classifier"

    classifier_lr: float | None = 1e-2
    """Learning rate where lwf, replay or separate learn a classifier alone; None: --lr."""

    def __post_init__(self) -> None:
        check_range("--classifier-lr", self.classifier_lr, 0, above=True)


@dataclass(frozen=True)
class TailStart(OptionGroup):
    """What a tail begins with."""

    heading: ClassVar[str] = "start of the tail"

    tail_start: Start = "pretrained"
    """A tail begins pretrained, as it was trained with the trunk (where it was trained alone), or fresh."""


@dataclass(frozen=True)
class ShortTasks(OptionGroup):
    """Below so many steps a task, shared weights are held more firmly (docs/method/pace.md)."""

    heading: ClassVar[str] = "tasks of few steps"

    reference_steps: Annotated[int | None, arg(metavar="N")] = None
    """Tasks of fewer steps learn shared weights slower, and statistics anew; None: 400 (a lone classifier: 1)."""

    def __post_init__(self) -> None:
        check_range("--reference-steps", self.reference_steps, 1)
