"""Images as a user hands them over: PIL images as their files, and arrays by the meaning of their axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hypertail.bank import Preprocessing
from hypertail.bank.images.opening import open_images
from hypertail.bank.images.pixels import pixel_batches, single
from hypertail.errors import DataError
from support.banks import PIXELS, SIZE
from support.errors import refused
from support.image_sources import noise_image

SAME = Preprocessing(SIZE)


def pixels(images: object, preprocessing: Preprocessing = PIXELS) -> torch.Tensor:
    return torch.cat([part for part, _ in pixel_batches(images, preprocessing)])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_pil_image_is_turned_upright_as_its_file(orientation: int, tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[0x0112] = orientation
    file = tmp_path / "phone.png"
    noise_image(3, (40, 20)).save(file, exif=tags)
    with Image.open(file) as opened:
        found = pixels(opened)
        assert opened.size == (40, 20)
    assert torch.equal(found, pixels(file))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"])
def test_a_pil_image_of_every_mode_is_read_as_its_file(mode: str, tmp_path: Path) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30))
    elif mode == "LAB":
        image = Image.merge("LAB", noise_image(3, (30, 20)).split())
    else:
        image = noise_image(3, (30, 20)).convert(mode)
    file = tmp_path / "image.tif"
    image.save(file)
    assert torch.equal(pixels(image), pixels(file))
    labelled = open_images(([image, image], ["a", "b"]), PIXELS)
    assert torch.equal(labelled.pixels([0]), pixels(file))


def test_a_pil_image_without_a_file_of_its_mode_is_read_too() -> None:
    image = noise_image(3, (30, 20))
    assert (pixels(image.convert("HSV")).int() - pixels(image).int()).abs().float().mean() < 3
    with refused(DataError, problem="PIL image of mode La", hint="convert"):
        pixels(image.convert("LA").convert("La"))


def test_axes_of_one_image() -> None:
    grey = np.full((28, 28), 90, np.uint8)
    for one in (grey, grey[..., None], grey[None], np.stack((grey,) * 3, -1), np.stack((grey,) * 3)):
        assert single(one)
        assert single(torch.from_numpy(one))
        assert pixels(one).shape == (1, 3, SIZE, SIZE)
        assert bool((pixels(one) == 90).all())


def test_axes_of_several_images() -> None:
    grey = np.full((5, 28, 28), 90, np.uint8)
    for several in (grey, grey[..., None], grey[:, None], np.stack((grey,) * 3, -1), np.stack((grey,) * 3, 1)):
        assert not single(several)
        assert pixels(several).shape == (5, 3, SIZE, SIZE)
        assert bool((pixels(several) == 90).all())
    assert len(open_images((grey[:3], ["a", "a", "b"]), PIXELS)) == 3


@pytest.mark.parametrize("floats", [False, True])
def test_alpha_is_laid_on_white_as_that_of_files(floats: bool, tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 4), dtype=np.uint8)
    Image.fromarray(colours, "RGBA").save(tmp_path / "a.png")
    values = colours / 255 if floats else colours
    assert single(values)
    wanted = pixels(tmp_path / "a.png", SAME).int()
    for images in (values, values[None], torch.from_numpy(values)):
        assert (pixels(images, SAME).int() - wanted).abs().max() <= 1


def test_paths_in_an_array(tmp_path: Path) -> None:
    files = [str(tmp_path / f"{number}.png") for number in range(2)]
    for number, file in enumerate(files):
        noise_image(number).save(file)
    assert torch.equal(pixels(np.array(files)), pixels(files))
    labelled = open_images((np.array(files, dtype=object), ["a", "b"]), PIXELS)
    assert torch.equal(labelled.pixels([0, 1]), pixels(files))


def test_arrays_that_are_no_images_are_refused() -> None:
    for bad in (np.nan, np.inf):
        values = np.full((SIZE, SIZE, 3), bad, np.float32)
        values[0] = 0.5
        with refused(DataError, required="finite", found="396 of 432"):
            pixels(values)
    for shape in ((4,), (4, 5, 6, 7), (2, 4, 8, 8), (2, 3, 0, 8), (1, 2, 3, 4, 5)):
        with refused(DataError, problem="images in an array", required="(n, h, w, 3)", found=str(shape[-1])):
            pixels(np.zeros(shape, np.uint8))
    for kind in (np.int64, bool, "datetime64[s]", complex):
        with refused(DataError, required="uint8 or floats"):
            pixels(np.zeros((2, 3, 8, 8), kind))
