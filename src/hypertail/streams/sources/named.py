"""The named datasets: where they lie on the hub, how large, how they are normalised and augmented."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from hypertail.errors import ConfigError, unknown_name
from hypertail.streams.sources.hub import HubSource, hub_dataset
from hypertail.streams.sources.labelled import LabelledImages, described
from hypertail.streams.sources.unreadable import OnBadImage
from hypertail.streams.stream import Examples
from hypertail.streams.transforms import Compose, Normalise, RandomCrop, RandomFlip, Step

Augment = Literal["none", "crop", "crop-flip"]
"""What is random in a training image: nothing, where it is cropped, or also whether it is mirrored."""


@dataclass(frozen=True)
class Preprocessing:
    """How images are augmented for training and normalised.

    Attributes:
        mean, std: per channel, on the scale 0..1.
        flip: mirror at random; off where left and right mean something, as in digits and signs.
        crop: padding of the random crop as a share of the image side; 0 for no crop.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool = True
    crop: float = 1 / 8

    def augmented(self, augment: Augment | None) -> Preprocessing:
        """The same with another augmentation; None leaves it as it is. A crop that is there keeps its padding."""
        if augment is None:
            return self
        crop = 0.0 if augment == "none" else self.crop or Preprocessing.crop
        return replace(self, crop=crop, flip=augment == "crop-flip")

    def augment(self, image_size: int) -> tuple[Step, ...]:
        """The random steps of training, on uint8 images."""
        padding = round(self.crop * image_size)
        steps: tuple[Step, ...] = (RandomCrop(padding),) if padding else ()
        return (*steps, RandomFlip()) if self.flip else steps

    def train_transform(self, image_size: int) -> Compose:
        """Augment and normalise."""
        return Compose((*self.augment(image_size), self.normalise()))

    def test_transform(self) -> Compose:
        """Normalise."""
        return Compose((self.normalise(),))

    def words(self) -> str:
        """The augmentation in a few words: `cropped at random and mirrored half of the time`."""
        steps = ["cropped at random"] * bool(self.crop) + ["mirrored half of the time"] * self.flip
        return " and ".join(steps) or "as they are"

    def normalise(self) -> Normalise:
        """The last step."""
        return Normalise(self.mean, self.std)


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset known by name: its source, its usual size in pixels a side, and its preprocessing."""

    source: HubSource
    image_size: int
    preprocessing: Preprocessing


CIFAR = Preprocessing((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
IMAGENET = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # for images of unknown origin
DIGITS = Preprocessing((0.3053,), (0.3759,), flip=False, crop=1 / 16)

DATASETS = {
    "cifar100": DatasetSpec(HubSource("uoft-cs/cifar100", image="img", label="fine_label", test="test"), 32, CIFAR),
    "cifar10": DatasetSpec(HubSource("uoft-cs/cifar10", image="img", label="label", test="test"), 32, CIFAR),
    "tiny-imagenet": DatasetSpec(
        HubSource("zh-plus/tiny-imagenet", image="image", label="label", test="valid"),
        64,
        Preprocessing((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), crop=0),
    ),
    "fashion-mnist": DatasetSpec(
        # 28x28; two pixels of black on each side leave every pixel as it is
        HubSource("zalando-datasets/fashion_mnist", image="image", label="label", test="test", pad=2),
        32,
        Preprocessing((0.2190,) * 3, (0.3318,) * 3),
    ),
    "svhn": DatasetSpec(
        HubSource("ufldl-stanford/svhn", "cropped_digits", image="image", label="label", test="test"),
        32,
        Preprocessing((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970), flip=False),
    ),
    "gtsrb": DatasetSpec(
        HubSource("tanganke/gtsrb", image="image", label="label", test="test"),
        32,
        Preprocessing((0.3403, 0.3121, 0.3214), (0.2724, 0.2608, 0.2669), flip=False),
    ),
}


def named_dataset(
    name: str,
    *,
    image_size: int | None = None,
    data: str | Path | None = None,
    cache: bool = True,
    on_bad_image: OnBadImage = "error",
) -> LabelledImages:
    """One of `DATASETS`, as RGB images of `image_size` pixels a side (its usual size by default).

    It is public, so that `cache` keeps its decoded images on disk unless told otherwise.

    Raises:
        ConfigError: unknown name.
        DataError: see `hub_dataset`.
    """
    if name not in DATASETS:
        raise unknown_name("dataset", name, DATASETS)
    named = DATASETS[name]
    size = image_size or named.image_size
    return hub_dataset(named.source, image_size=size, data=data, cache=cache, on_bad_image=on_bad_image)


def digits(image_size: int = 16) -> LabelledImages:
    """The 1,797 real handwritten digits that come with scikit-learn, one channel, enlarged from 8x8.

    Raises:
        ConfigError: `image_size` is not a multiple of 8.
    """
    if image_size % 8:
        raise ConfigError(
            "image size of 'digits'",
            required="a multiple of 8",
            found=str(image_size),
            hint="Use 16, or leave it out.",
        )
    from sklearn.datasets import load_digits

    bunch = load_digits()
    grey = torch.from_numpy(bunch.images)[:, None]  # 0..16
    pixels = (grey * (255 / 16)).round().to(torch.uint8)
    factor = image_size // 8
    pixels = pixels.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
    labels = torch.from_numpy(bunch.target).to(torch.int64)
    images = LabelledImages("digits", tuple(str(digit) for digit in range(10)), Examples(pixels, labels), None)
    return described(images, "scikit-learn's load_digits")
