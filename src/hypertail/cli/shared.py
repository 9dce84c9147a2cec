"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import arg

from hypertail.errors import ConfigError, check_range
from hypertail.lab.experiments.place import DataPlace, Place
from hypertail.streams.sources.unreadable import OnBadImage
from hypertail.training.interval import Interval
from hypertail.training.precision import Speed

Flag = tyro.conf.FlagCreatePairsOff[bool]


def listed(choices: Mapping[str, str]) -> str:
    """Names and what they stand for, as lines of a help text."""
    return "".join(f"\n- {name}: {what}" for name, what in choices.items())


@dataclass(frozen=True)
class Reading:
    """How data is read."""

    image_column: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: the usual one)")] = None
    """Column of the images of a hub: dataset."""
    label_column: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: the usual one)")] = None
    """Column of the labels of a hub: dataset."""
    cache: Annotated[Flag, arg(help_behavior_hint="(default: of public datasets only)")] = False
    """Keep decoded images on disk, to start faster."""
    no_cache: Flag = False
    """Keep no decoded images on disk."""
    on_bad_image: OnBadImage = "error"
    """With an image that cannot be read: end with an error, or skip and list it."""

    def place(self, root: Path | None) -> DataPlace:
        """The same, for the library, with the folder of local datasets.

        Raises:
            ConfigError: both --cache and --no-cache.
        """
        if self.cache and self.no_cache:
            raise ConfigError(
                "options --cache and --no-cache",
                required="one of them, or none",
                found="both",
                hint="Leave one of them out.",
            )
        keep = True if self.cache else False if self.no_cache else None
        return DataPlace(root, keep, self.image_column, self.label_column, self.on_bad_image)


@dataclass(frozen=True)
class Machine:
    """Where it runs and what it may use."""

    device: Annotated[str, arg(metavar="DEVICE")] = "auto"
    """auto (a GPU if there is one), cpu, cuda or cuda:N."""
    threads: Annotated[int, arg(metavar="N")] = 1
    """CPU threads; results of different numbers differ in the last digits."""
    speed: Speed = "auto"
    """Precision: full (float32), mixed (bfloat16 forward passes), or auto: mixed where that is fast and safe."""
    cache_bytes: Annotated[int | None, arg(metavar="BYTES", help_behavior_hint="(default: 1/4 of what is free)")] = None
    """Memory for kept inputs; more goes to temporary files, or is computed again where the disk is full."""
    checkpoint_every: Annotated[str, arg(metavar="TIME")] = str(Interval())
    """How often a run is saved within an experience: 30s, 5min, 2h or 2epochs; it is saved after each in any case."""

    def place(self, data: DataPlace, command: str) -> Place:
        """The same, for the library, with where data lies and the command line to record.

        Raises:
            ConfigError: a number is out of range, or no time between two checkpoints.
        """
        check_range("--cache-bytes", self.cache_bytes, 0)
        every = Interval.parse(self.checkpoint_every)
        return Place(data, self.device, self.threads, self.cache_bytes, self.speed, command, every)
