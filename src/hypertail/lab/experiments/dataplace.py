"""Where data comes from and how it is read: what says nothing about the run, since the digest of the data does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hypertail.lab.experiments.config import RunConfig
from hypertail.streams import Stream, build_stream


@dataclass(frozen=True)
class DataPlace:
    """Where datasets lie and how they are read.

    Attributes:
        root: folder of local datasets, `<root>/<owner>/<name>`; None for `$HYPERTAIL_DATA`, else the hub.
        cache: keep the decoded images on disk; None keeps those of named datasets, and none of your own folders.
        image_column, label_column: of a `hub:` dataset, where the usual ones are not right.
    """

    root: Path | None = None
    cache: bool | None = None
    image_column: str | None = None
    label_column: str | None = None

    def arguments(self) -> list[str]:
        """The options of `hypertail run` that say the same."""
        words = [] if self.root is None else ["--data", str(self.root)]
        for option, column in (("--image-column", self.image_column), ("--label-column", self.label_column)):
            words += [] if column is None else [option, column]
        return words if self.cache is None else [*words, "--cache" if self.cache else "--no-cache"]


USUAL = DataPlace()
"""The place that follows from the environment."""


def stream_of(config: RunConfig, data: DataPlace = USUAL) -> Stream:
    """The stream of a configuration.

    Raises:
        ConfigError: an option is out of range.
        DataError: the data is missing or unusable.
    """
    return build_stream(
        config.stream,
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
    )
