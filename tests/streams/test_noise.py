"""The noises of the noisy stream against slow twins, Pillow and kornia."""

from __future__ import annotations

import math

import kornia
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor

from hypertail.seeds import generator
from hypertail.streams import Autocontrast, Compose, GaussianBlur, Grayscale, RandomGaussianBlur, Solarize


def pictures(n: int, height: int = 8, width: int = 6) -> Tensor:
    return torch.rand(n, 3, height, width, generator=generator(0, "pictures"))


def slow_blur(images: Tensor, kernel_size: int, sigmas: list[float]) -> Tensor:
    """Direct two-dimensional convolution with mirrored edges, pixel by pixel, in float64."""
    radius = kernel_size // 2
    n, _, height, width = images.shape
    images = images.double()
    result = torch.zeros_like(images)
    span = range(-radius, radius + 1)

    def mirror(place: int, size: int) -> int:
        place = abs(place)
        return 2 * (size - 1) - place if place >= size else place

    for image in range(n):
        weight = {(y, x): math.exp(-(y * y + x * x) / (2 * sigmas[image] ** 2)) for y in span for x in span}
        total = sum(weight.values())
        for y in range(height):
            for x in range(width):
                for (dy, dx), value in weight.items():
                    source = images[image, :, mirror(y + dy, height), mirror(x + dx, width)]
                    result[image, :, y, x] += source * (value / total)
    return result


def test_solarize_equals_slow_twin() -> None:
    images = pictures(4)
    images[0, 0, 0, :3] = torch.tensor([0.0, 0.5, 1.0])
    expected = [value if value < 0.5 else 1 - value for value in images.double().flatten().tolist()]
    torch.testing.assert_close(
        Solarize(0.5)(images, generator(0)).double().flatten(), torch.tensor(expected, dtype=torch.float64)
    )


def test_autocontrast_equals_slow_twin() -> None:
    images = pictures(4) * 0.5 + 0.2
    images[1, 2] = 0.3  # a constant channel
    expected = images.double()
    for image in expected:
        for channel in image:
            low, high = channel.min().item(), channel.max().item()
            if high > low:
                channel.copy_((channel - low) / (high - low))
    stretched = Autocontrast()(images, generator(0))
    torch.testing.assert_close(stretched.double(), expected, rtol=0, atol=1e-6)
    assert torch.equal(stretched[1, 2], images[1, 2])


def test_autocontrast_equals_pillow() -> None:
    pixels = (pictures(1)[0] * 100 + 60).to(torch.uint8)
    expected = np.array(ImageOps.autocontrast(Image.fromarray(pixels.permute(1, 2, 0).numpy())))
    stretched = Autocontrast()(pixels[None].float() / 255, generator(0))[0].permute(1, 2, 0) * 255
    assert np.abs(stretched.numpy() - expected).max() <= 1


def test_grayscale_equals_kornia_and_keeps_three_channels() -> None:
    images = pictures(4)
    grey = Grayscale()(images, generator(0))
    assert grey.shape == images.shape
    torch.testing.assert_close(grey, kornia.color.rgb_to_grayscale(images).expand_as(images))


@pytest.mark.parametrize(("kernel_size", "sigma"), [(5, 0.9), (3, 0.5), (5, 0.65)])
def test_blur_equals_slow_twin(kernel_size: int, sigma: float) -> None:
    images = pictures(3)
    blurred = GaussianBlur(kernel_size, sigma)(images, generator(0))
    torch.testing.assert_close(blurred.double(), slow_blur(images, kernel_size, [sigma] * 3), rtol=0, atol=1e-6)


def test_random_blur_equals_slow_twin_with_a_sigma_per_image() -> None:
    images = pictures(4)
    sigmas = torch.empty(4, 1).uniform_(0.6, 0.7, generator=generator(2))[:, 0].tolist()
    assert len(set(sigmas)) == 4
    blurred = RandomGaussianBlur(5, 0.6, 0.7)(images, generator(2))
    torch.testing.assert_close(blurred.double(), slow_blur(images, 5, sigmas), rtol=0, atol=1e-6)


def test_blur_of_many_images_equals_kornia() -> None:
    images = pictures(150)  # more than two blocks
    sigmas = torch.empty(150, 1).uniform_(0.6, 0.7, generator=generator(0)).expand(-1, 2)
    expected = kornia.filters.gaussian_blur2d(images, (5, 5), sigmas, border_type="reflect")
    torch.testing.assert_close(RandomGaussianBlur(5, 0.6, 0.7)(images, generator(0)), expected)


@pytest.mark.parametrize("noise", [Solarize(), GaussianBlur(5, 0.9), Compose((Autocontrast(), Grayscale()))])
def test_a_noisy_image_does_not_depend_on_its_neighbours(noise: Compose) -> None:
    images = pictures(150, 13, 11)
    together = noise(images, generator(0))
    for rows in (slice(0, 1), slice(60, 70), slice(149, 150)):
        assert torch.equal(noise(images[rows], generator(0)), together[rows])


@pytest.mark.parametrize("noise", [Solarize(), Autocontrast(), Grayscale(), RandomGaussianBlur(5, 0.6, 0.7)])
def test_the_input_is_left_as_it_was(noise: Compose) -> None:
    images = pictures(3)
    before = images.clone()
    noise(images, generator(0))
    assert torch.equal(images, before)
