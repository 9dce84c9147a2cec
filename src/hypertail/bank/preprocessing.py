"""From stored pixels to what a backbone takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from hypertail.errors import ConfigError, check_choice
from hypertail.streams.transforms import Normalise

Resize = Literal["stretch", "crop"]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """How images of any size become the input of a backbone, (n, 3, size, size).

    Attributes:
        size: pixels a side.
        mean, std: of each channel, on the scale 0..1; ImageNet's by default.
        resize: an image of another shape is brought to the square by `stretch` (squeezed, nothing is cut off) or by
            `crop` (its shorter side is brought to `size` / `crop_share`, then the middle is cut out).
        crop_share: share of the shorter side that `crop` keeps.

    Raises:
        ConfigError: a size below 1, an unknown way to resize, not three channels, or a standard deviation of 0.
    """

    size: int = 224
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    resize: Resize = "stretch"
    crop_share: float = 1.0

    def __post_init__(self) -> None:
        check_choice("way to resize", self.resize, get_args(Resize))
        object.__setattr__(self, "mean", tuple(float(value) for value in self.mean))
        object.__setattr__(self, "std", tuple(float(value) for value in self.std))
        if self.size < 1 or not 0 < self.crop_share <= 1:
            raise ConfigError(
                "image size",
                required="1 pixel or more a side, and a share above 0 and at most 1",
                found=f"size={self.size}, crop_share={self.crop_share}",
                hint="Give the size that the backbone was trained at.",
            )
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ConfigError(
                "mean and standard deviation of the channels",
                required="three numbers each, standard deviations above 0",
                found=f"mean={self.mean}, std={self.std}",
                hint="Images are read as red, green and blue on the scale 0..1.",
            )

    def __call__(self, images: UInt8[Tensor, "n 3 s s"]) -> Float[Tensor, "n 3 s s"]:
        """The normalised images; they have the right size already."""
        return Normalise(self.mean, self.std)(images, torch.Generator())

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Preprocessing:
        """What `to_json` gave.

        Raises:
            KeyError, TypeError, ValueError: it did not.
        """
        return cls(
            int(value["size"]),
            tuple(value["mean"]),
            tuple(value["std"]),
            value["resize"],
            float(value["crop_share"]),
        )
