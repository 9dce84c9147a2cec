"""Image files of every kind become RGB squares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hypertail.errors import DataError
from hypertail.streams import read_images
from streams.image_sources import noise_image


def test_images_of_the_right_size_keep_every_pixel(tmp_path: Path) -> None:
    images = [noise_image(number) for number in range(3)]
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for image, file in zip(images, files, strict=True):
        image.save(file)
    pixels = read_images([str(file) for file in files], 32)
    assert pixels.dtype == torch.uint8
    for image, found in zip(images, pixels, strict=True):
        assert torch.equal(found, torch.from_numpy(np.array(image)).permute(2, 0, 1))


def test_other_sizes_are_resized_whole(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20), "black")
    image.paste((255, 0, 0), (0, 0, 20, 20))  # the left half
    image.save(tmp_path / "wide.png")
    pixels = read_images([tmp_path / "wide.png"], 8)[0]
    assert pixels.shape == (3, 8, 8)
    assert pixels[0, :, 0].tolist() == [255] * 8
    assert pixels[0, :, 7].tolist() == [0] * 8


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    noise_image(0, mode="L").save(tmp_path / "grey.png")
    pixels = read_images([tmp_path / "grey.png"], 32)[0]
    assert torch.equal(pixels[0], pixels[1])
    assert torch.equal(pixels[0], pixels[2])
    assert pixels.float().std() > 50


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    levels = np.array([[0, 257], [25700, 65535]], dtype=np.uint16)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    assert read_images([tmp_path / "deep.png"], 2)[0, 0].tolist() == [[0, 1], [100, 255]]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_shows_white(tmp_path: Path, mode: str) -> None:
    if mode == "P":
        image = Image.new("P", (4, 4), 0)
        image.putpalette([10, 20, 30, 40, 50, 60])
        image.save(tmp_path / "clear.png", transparency=bytes([0, 255]))
    else:
        Image.new(mode, (4, 4), (0,) * len(mode)).save(tmp_path / "clear.png")
    assert read_images([tmp_path / "clear.png"], 4).unique().tolist() == [255]


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 4), "black")
    image.paste((255, 255, 255), (0, 0, 4, 2))  # the upper half
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    image.save(tmp_path / "photo.png", exif=exif)
    pixels = read_images([tmp_path / "photo.png"], 4)[0]
    assert pixels[:, :2].max() == 0
    assert pixels[:, 2:].min() == 255


def test_large_photographs_come_out_nearly_as_decoded_whole(tmp_path: Path) -> None:
    image = noise_image(0, (12, 9)).resize((960, 720), Image.Resampling.BICUBIC)
    image.save(tmp_path / "photo.jpg", quality=95)
    expected = Image.open(tmp_path / "photo.jpg").resize((32, 32), Image.Resampling.BILINEAR)
    found = read_images([tmp_path / "photo.jpg"], 32)[0].permute(1, 2, 0).numpy().astype(int)
    assert np.abs(found - np.array(expected)).mean() < 3


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_corrupt_image_is_named(tmp_path: Path, content: bytes) -> None:
    noise_image(0).save(tmp_path / "good.png")
    bad = tmp_path / "bad.png"
    bad.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_images([tmp_path / "good.png", bad], 32)
    assert str(caught.value).startswith(f"image '{bad}': required a readable image; found ")
    assert caught.value.mend == "Replace or delete that file."


def test_truncated_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "half.png"
    noise_image(0).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"half\.png': required a readable image; found OSError"):
        read_images([path], 32)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png': required a readable image; found FileNotFoundError"):
        read_images([tmp_path / "gone.png"], 32)
