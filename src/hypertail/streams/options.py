"""The options of `build_stream`, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from hypertail.errors import ConfigError, check_choice
from hypertail.streams.sources.named import Augment, Preprocessing
from hypertail.streams.sources.unreadable import OnBadImage
from hypertail.streams.transforms import Compose


@dataclass(frozen=True)
class Options:
    """The arguments of `build_stream` after its name, with the same meaning.

    Raises:
        ConfigError: one is out of range.
    """

    seed: int = 0
    data: str | Path | None = None
    validation: float = 0.0
    image_size: int | None = None
    classes_per_experience: int | None = None
    cache: bool | None = None
    image_column: str | None = None
    label_column: str | None = None
    images_per_class: int | None = None
    on_bad_image: OnBadImage = "error"
    augment: Augment | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.validation < 1:
            raise ConfigError(
                "validation share",
                required="0 <= share < 1",
                found=f"{self.validation}",
                hint="Use 0.1, say.",
            )
        if self.image_size is not None and self.image_size < 8:
            raise ConfigError(
                "image size",
                required="8 pixels a side or more",
                found=f"{self.image_size}",
                hint="Use 32, say.",
            )
        if self.classes_per_experience is not None and self.classes_per_experience < 2:
            raise ConfigError(
                "classes per experience",
                required="2 or more",
                found=f"{self.classes_per_experience}",
                hint="Use 2, or leave it out.",
            )
        if self.images_per_class is not None and self.images_per_class < 2:
            raise ConfigError(
                "images per class",
                required="2 or more",
                found=f"{self.images_per_class}",
                hint="Use 20, say, or leave it out.",
            )
        if self.augment is not None:
            check_choice("augmentation", self.augment, get_args(Augment))

    def size(self, default: int) -> int:
        """The image size in pixels a side, or the stream's `default`."""
        return self.image_size or default

    def transforms(self, preprocessing: Preprocessing, image_size: int) -> tuple[Compose, Compose]:
        """Of training and of test images, for a dataset with this preprocessing."""
        chosen = preprocessing.augmented(self.augment)
        return chosen.train_transform(image_size), chosen.test_transform()

    def refuse_columns(self, stream: str) -> None:
        """Refuse columns for a stream that has none to choose.

        Raises:
            ConfigError: a column is named.
        """
        for what, column in (("image", self.image_column), ("label", self.label_column)):
            if column is not None:
                raise ConfigError(
                    f"{what} column of stream '{stream}'",
                    required="none, unless for hub:OWNER/NAME",
                    found=f"'{column}'",
                    hint="Leave it out.",
                )
