"""Examples, experiences and streams: what a continual learner is given, one task after another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from hypertail.errors import ConfigError, DataError
from hypertail.streams.digest import experiences_digest
from hypertail.streams.report import DatasetReport


class Transform(Protocol):
    """Turns stored images into the network's input, a whole batch or a whole set at once.

    Random transforms draw from `generator`, a CPU generator, and work on the device of the images; those
    that draw nothing treat every image alike whatever its batch neighbours.
    """

    def __call__(self, images: UInt8[Tensor, "n c h w"], generator: torch.Generator, /) -> Float[Tensor, "n c _ _"]:
        """The float32 images."""


@dataclass(frozen=True, eq=False, repr=False)
class Examples:
    """Labelled images in memory.

    Attributes:
        images: uint8 (n, channels, height, width), on the CPU.
        labels: int64 (n,), class ids counted from 0.

    Raises:
        DataError: the tensors do not fit together.
    """

    images: UInt8[Tensor, "n c h w"]
    labels: Int64[Tensor, " n"]

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != torch.uint8 or images.ndim != 4 or images.device.type != "cpu":
            raise DataError(
                "images of an example set",
                required="a uint8 tensor (n, channels, height, width) on the CPU",
                found=f"{images.dtype} {tuple(images.shape)} on {images.device.type}",
                hint="Store raw pixels 0..255; transforms make the floats.",
            )
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1] or labels.device.type != "cpu":
            raise DataError(
                "labels of an example set",
                required=f"an int64 tensor ({len(images)},) on the CPU, one label an image",
                found=f"{labels.dtype} {tuple(labels.shape)} on {labels.device.type}",
                hint="Give one integer class id per image.",
            )

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def __repr__(self) -> str:
        """Size and shape, without the pixels."""
        shape = "x".join(str(side) for side in self.images.shape[1:])
        return f"Examples({len(self)} images, {shape})"

    def subset(self, rows: Int64[Tensor, " k"]) -> Examples:
        """A copy of the examples at `rows`, in that order."""
        return Examples(self.images[rows], self.labels[rows])


@dataclass(frozen=True, eq=False)
class Experience:
    """One task of a stream.

    Attributes:
        task: task id, from 0.
        name: for people.
        classes: class names; label i of this experience is `classes[i]`.
        train, test, validation: the examples; `validation` was held out of the training data, or is None.
        train_transform, test_transform: from stored to network input; the test transform draws nothing.
        report: what was read, where the experience was read by itself (`experience_from_folder`).

    Raises:
        DataError: fewer than two classes, an empty set, labels out of range or images of differing shapes.
    """

    task: int
    name: str
    classes: tuple[str, ...]
    train: Examples
    test: Examples
    validation: Examples | None
    train_transform: Transform
    test_transform: Transform
    report: DatasetReport | None = None

    def __post_init__(self) -> None:
        what = f"experience {self.task} ('{self.name}')"
        if len(set(self.classes)) < max(2, len(self.classes)):
            raise DataError(
                f"classes of {what}",
                required="two or more different classes",
                found=", ".join(self.classes) or "none",
                hint="Put at least two classes in every experience, each under its own name.",
            )
        for part, examples in (
            ("training", self.train),
            ("test", self.test),
            ("validation", self.validation),
        ):
            if examples is not None:
                self._check(f"{part} set of {what}", examples)

    def examples(self, split: str) -> Examples:
        """Those of `train`, `test` or `validation`.

        Raises:
            DataError: there is no such split.
        """
        splits = {"train": self.train, "test": self.test, "validation": self.validation}
        found = splits.get(split)
        if found is None:
            raise DataError(
                f"the {split} split of experience {self.task} ('{self.name}')",
                required=f"one of {', '.join(name for name, there in splits.items() if there is not None)}",
                found="none",
                hint="Hold some training data out, for example with --validation 0.1.",
            )
        return found

    def _check(self, what: str, examples: Examples) -> None:
        if len(examples) == 0:
            raise DataError(what, required="at least one image", found="none", hint="Add images to it.")
        low, high = int(examples.labels.min()), int(examples.labels.max())
        if low < 0 or high >= len(self.classes):
            raise DataError(
                f"labels of the {what}",
                required=f"class ids 0 to {len(self.classes) - 1}",
                found=f"ids {low} to {high}",
                hint="Number the classes of each experience from 0.",
            )
        if examples.images.shape[1:] != self.train.images.shape[1:]:
            raise DataError(
                f"images of the {what}",
                required=f"the shape of the training images, {tuple(self.train.images.shape[1:])}",
                found=f"{tuple(examples.images.shape[1:])}",
                hint="Bring all images to one size.",
            )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of every image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width


@dataclass(frozen=True, eq=False)
class Stream:
    """A sequence of experiences, e_1 .. e_N, with task ids 0 .. N-1.

    Attributes:
        name: for people.
        experiences: in the order they are learned.
        image_shape: (channels, height, width) of every image.
        reports: what was read, one for each dataset that the stream was made of; empty where it was made by hand.

    Raises:
        DataError: no experience, task ids out of order, or images of differing shapes.
    """

    name: str
    experiences: tuple[Experience, ...]
    image_shape: tuple[int, int, int]
    reports: tuple[DatasetReport, ...] = ()

    def __post_init__(self) -> None:
        if not self.experiences:
            raise DataError(
                f"stream '{self.name}'",
                required="at least one experience",
                found="none",
                hint="Give it one or more experiences.",
            )
        tasks = [experience.task for experience in self.experiences]
        if tasks != list(range(len(tasks))):
            raise DataError(
                f"task ids of stream '{self.name}'",
                required=f"0 to {len(tasks) - 1} in order",
                found=", ".join(str(task) for task in tasks),
                hint="Number the experiences from 0 in the order they are learned.",
            )
        for experience in self.experiences:
            if experience.image_shape != tuple(self.image_shape):
                raise DataError(
                    f"images of experience {experience.task} ('{experience.name}') in stream '{self.name}'",
                    required=f"the stream's image shape {tuple(self.image_shape)}",
                    found=f"{experience.image_shape}",
                    hint="Bring all experiences to one image size and number of channels.",
                )

    @cached_property
    def digest(self) -> str:
        """A hexadecimal digest of images, labels, class names and their order in all splits, counted once.

        Names of stream and experiences do not count: a folder and its copy give one digest.
        """
        return experiences_digest(self.experiences)

    @property
    def max_classes(self) -> int:
        """The largest number of classes in an experience."""
        return max(len(experience.classes) for experience in self.experiences)

    def __len__(self) -> int:
        """Number of experiences."""
        return len(self.experiences)

    def __iter__(self) -> Iterator[Experience]:
        """The experiences in order."""
        return iter(self.experiences)

    def __getitem__(self, task: int) -> Experience:
        """The experience with this task id."""
        return self.experiences[task]

    def task_name(self, task: int) -> str | None:
        """The name of an experience as that of its task: None where another experience has it too."""
        name = self[task].name
        return name if sum(experience.name == name for experience in self) == 1 else None

    def first(self, n: int) -> Stream:
        """The stream of the first `n` experiences.

        Raises:
            ConfigError: `n` is less than 1 or more than there are.
        """
        if not 1 <= n <= len(self):
            raise ConfigError(
                f"number of experiences of stream '{self.name}'",
                required=f"1 to {len(self)}",
                found=str(n),
                hint="Ask for fewer experiences, or put fewer classes in each.",
            )
        return replace(self, experiences=self.experiences[:n])
