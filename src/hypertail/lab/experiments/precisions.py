"""The two precisions of a run: of its steps, and of the trunk that comparisons share."""

from __future__ import annotations

from typing import NamedTuple

import torch

from hypertail.lab.experiments.config import RunConfig
from hypertail.streams import Stream
from hypertail.training.precision import Precision, Speed, choose_precision, multiplies_bfloat16


class Precisions(NamedTuple):
    """Of the steps of the run, and of its trunk: its training and the features of training images."""

    steps: Precision
    trunk: Precision

    @property
    def words(self) -> str:
        """As an error shows them."""
        return self.steps if self.steps == self.trunk else f"{self.steps} (trunk {self.trunk})"


def precisions_of(config: RunConfig, stream: Stream, speed: Speed, device: torch.device) -> Precisions:
    """What `speed` says, or the rule for `auto` (`choose_precision`).

    The trunk's does not depend on the depth: strategies and depths that are compared share one trunk.
    """
    if config.options.get("per_sample"):
        # one weight set per sample repeats the authors' steps, at the authors' precision
        return Precisions("full", "full")
    bfloat16, pixels = multiplies_bfloat16(device), min(stream.image_shape[1:])
    return Precisions(
        choose_precision(speed, bfloat16=bfloat16, pixels=pixels, convolutions=_learns_convolutions(config)),
        choose_precision(speed, bfloat16=bfloat16, pixels=pixels, convolutions=True),
    )


def told_precisions(config: RunConfig, speed: Speed) -> Precisions | None:
    """What `speed` says by itself; None for `auto`."""
    if speed == "auto":
        return None
    precision: Precision = "full" if config.options.get("per_sample") else speed
    return Precisions(precision, precision)


def _learns_convolutions(config: RunConfig) -> bool:
    """Where the tail is a classifier alone nothing else is left to learn, unless the trunk learns with it."""
    cut = config.cut
    return cut is None or not cut.is_classifier or config.options.get("trunk_training") == "with-tail"
