"""Batched transforms against slow per-image twins."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from hypertail.seeds import generator
from hypertail.streams import Compose, Normalise, RandomCrop, RandomFlip, Resize, ToFloat

MEAN, STD = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)


def pictures(n: int, height: int = 9, width: int = 7, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=generator(seed, "pictures"))


def slow_crop(images: Tensor, padding: int, draws: torch.Generator) -> Tensor:
    tops, lefts = torch.randint(2 * padding + 1, (2, len(images)), generator=draws).tolist()
    result = torch.zeros_like(images)
    _, _, height, width = images.shape
    for n, (top, left) in enumerate(zip(tops, lefts, strict=True)):
        for y in range(height):
            for x in range(width):
                source_y, source_x = y + top - padding, x + left - padding
                if 0 <= source_y < height and 0 <= source_x < width:
                    result[n, :, y, x] = images[n, :, source_y, source_x]
    return result


@pytest.mark.parametrize("padding", [1, 2, 4])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_crop_equals_slow_twin(padding: int, dtype: torch.dtype) -> None:
    images = pictures(12).to(dtype)
    cropped = RandomCrop(padding)(images, generator(3))
    assert cropped.dtype == dtype
    assert torch.equal(cropped, slow_crop(images, padding, generator(3)))


def test_crop_reaches_every_place() -> None:
    marks = torch.zeros(2000, 1, 5, 5, dtype=torch.uint8)
    marks[:, :, 2, 2] = 255
    cropped = RandomCrop(2)(marks, generator(0))
    assert {tuple(place) for place in cropped[:, 0].nonzero()[:, 1:].tolist()} == {
        (y, x) for y in range(5) for x in range(5)
    }


def test_flip_equals_slow_twin() -> None:
    images = pictures(50)
    flips = (torch.rand(50, generator=generator(1)) < 0.5).tolist()
    expected = torch.stack([image.flip(2) if flip else image for image, flip in zip(images, flips, strict=True)])
    assert torch.equal(RandomFlip()(images, generator(1)), expected)
    assert 0 < sum(flips) < 50


def test_flip_probability_is_respected_at_its_ends() -> None:
    images = pictures(20)
    assert torch.equal(RandomFlip(0)(images, generator(0)), images)
    assert torch.equal(RandomFlip(1)(images, generator(0)), images.flip(3))


@pytest.mark.parametrize("scaled", [False, True])
def test_normalise_equals_float64_twin(scaled: bool) -> None:
    images = pictures(5)
    given = ToFloat()(images, generator(0)) if scaled else images
    before = given.clone()
    normalised = Normalise(MEAN, STD)(given, generator(0))
    expected = images.double() / 255
    for channel in range(3):
        expected[:, channel] = (expected[:, channel] - MEAN[channel]) / STD[channel]
    assert normalised.dtype == torch.float32
    torch.testing.assert_close(normalised.double(), expected, rtol=0, atol=1e-6)
    assert torch.equal(given, before), "the input was changed"


def test_to_float_spans_zero_to_one() -> None:
    values = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    floats = ToFloat()(values, generator(0))
    torch.testing.assert_close(floats.double(), values.double() / 255, rtol=0, atol=1e-7)
    assert floats.max() == 1


@pytest.mark.parametrize(("height", "width", "size"), [(40, 24, 16), (8, 8, 20), (16, 16, 16)])
def test_resize_equals_pillow(height: int, width: int, size: int) -> None:
    images = pictures(4, height, width)
    resized = Resize(size)(images, generator(0))
    assert resized.dtype == torch.uint8
    for image, found in zip(images, resized, strict=True):
        pil = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((size, size), Image.Resampling.BILINEAR)
        expected = torch.from_numpy(np.array(pil)).permute(2, 0, 1)
        assert (found.int() - expected.int()).abs().max() <= 1
    floats = Resize(size)(images.float() / 255, generator(0))
    torch.testing.assert_close(floats * 255, resized.float(), rtol=0, atol=0.51)


def test_compose_runs_in_order_on_one_generator() -> None:
    images = pictures(30)
    steps = RandomCrop(2), RandomFlip(), Normalise(MEAN, STD)
    draws = generator(5)
    expected = steps[2](steps[1](steps[0](images, draws), draws), draws)
    assert torch.equal(Compose(steps)(images, generator(5)), expected)


def test_augmentation_follows_its_generator() -> None:
    images = pictures(30)
    augment = Compose((RandomCrop(2), RandomFlip(), Normalise(MEAN, STD)))
    assert torch.equal(augment(images, generator(0)), augment(images, generator(0)))
    assert not torch.equal(augment(images, generator(0)), augment(images, generator(1)))


def test_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    Compose((RandomCrop(2), RandomFlip()))(pictures(8), generator(0))
    assert torch.equal(torch.get_rng_state(), before)
