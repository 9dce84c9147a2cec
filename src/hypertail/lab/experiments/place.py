"""Where and how runs are executed: what does not decide their outcome, or is recorded where it can."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from hypertail.environment import choose_device, free_memory, use_threads
from hypertail.lab.experiments.config import RunConfig
from hypertail.streams import Stream, build_stream
from hypertail.streams.names import shown
from hypertail.streams.sources.unreadable import OnBadImage
from hypertail.training.features.shared import SharedFeatures
from hypertail.training.interval import Interval
from hypertail.training.precision import Speed


@dataclass(frozen=True)
class DataPlace:
    """Where datasets lie and how they are read.

    Attributes:
        root: folder of local datasets, `<root>/<owner>/<name>`; None for `$HYPERTAIL_DATA`, else the hub.
        cache: keep the decoded images on disk; None keeps those of named datasets, and none of your own folders.
        image_column, label_column: of a `hub:` dataset, where the usual ones are not right.
        on_bad_image: `error` or `skip`, see `build_stream`.
        base: folder that a relative `folder:PATH` begins in, if it is there; None for that in which one works.
    """

    root: Path | None = None
    cache: bool | None = None
    image_column: str | None = None
    label_column: str | None = None
    on_bad_image: OnBadImage = "error"
    base: Path | None = None

    def arguments(self) -> list[str]:
        """The options of `hypertail run` that say the same."""
        words = [] if self.root is None else ["--data", str(self.root)]
        for option, column in (("--image-column", self.image_column), ("--label-column", self.label_column)):
            words += [] if column is None else [option, column]
        words += [] if self.on_bad_image == "error" else ["--on-bad-image", self.on_bad_image]
        return words if self.cache is None else [*words, "--cache" if self.cache else "--no-cache"]


@dataclass(frozen=True)
class Place:
    """Where and how runs are executed; the same for all runs of a command.

    The same configuration, data, device, precision and number of CPU threads give the same bits, however busy the
    machine is. All of them are recorded with each run.

    Attributes:
        data: where datasets lie and how they are read.
        device: auto (a GPU if there is one), cpu, cuda or cuda:N.
        threads: CPU threads; None for as many as torch uses now.
        cache_bytes: memory for cached inputs; None for a quarter of what is free.
        speed: precision of the forward passes while training: `full`, `mixed`, or `auto` for the rule of
            `choose_precision`. A run that is reused keeps to the precision it began with.
        command: the command line, recorded in every run.
        weights: file of the weights of a pretrained trunk, for runs that have one.
        jobs: processes that share the memory of the machine, this one included.
        checkpoint_every: how often the state of a run within an experience is saved.
    """

    data: DataPlace = DataPlace()
    device: str = "cpu"
    threads: int | None = None
    cache_bytes: int | None = None
    speed: Speed = "auto"
    command: str = ""
    checkpoint_every: Interval = Interval()  # noqa: RUF009 - frozen
    weights: Path | None = None
    jobs: int = 1

    def settle(self) -> Place:
        """Choose the device, and use as many threads as were asked for; the same place without `auto`.

        Raises:
            ConfigError: there is no such device, or no thread.
        """
        use_threads(self.threads)
        return replace(self, device=str(choose_device(self.device)))

    def shared_features(self) -> SharedFeatures:
        """Room for features that several runs in this process have in common: a part of the memory that is free."""
        return SharedFeatures(free_bytes(torch.device(self.device)) // 3 // self.jobs)

    def cache_room(self) -> int:
        """Bytes for the cached inputs of one run."""
        if self.cache_bytes is not None:
            return self.cache_bytes
        return free_bytes(torch.device(self.device)) // 4 // self.jobs


def free_bytes(device: torch.device) -> int:
    """Memory that is free now on the device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return free_memory()


def stream_of(config: RunConfig, data: DataPlace = DataPlace()) -> Stream:
    """The stream of a configuration.

    Raises:
        ConfigError: an option is out of range.
        DataError: the data is missing or unusable.
    """
    stream = build_stream(
        _found(config.stream, data.base),
        seed=config.seed,
        data=data.root,
        validation=config.validation,
        image_size=config.image_size,
        experiences=config.experiences,
        classes_per_experience=config.classes_per_experience,
        images_per_class=config.images_per_class,
        cache=data.cache,
        image_column=data.image_column,
        label_column=data.label_column,
        on_bad_image=data.on_bad_image,
        augment=config.augment,
    )
    # named as the run was, wherever the folder was found
    return replace(stream, name=shown(config.stream)) if is_relative(config.stream) else stream


def is_relative(stream: str) -> bool:
    """Whether what a stream is depends on the folder in which one works."""
    kind, _, path = stream.partition(":")
    return kind == "folder" and not Path(path).expanduser().is_absolute()


def _found(stream: str, base: Path | None) -> str:
    if base is None or not is_relative(stream):
        return stream
    path = base / stream.partition(":")[2]
    return f"folder:{path}" if path.exists() else stream
