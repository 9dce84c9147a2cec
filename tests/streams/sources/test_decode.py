"""Image files of every kind become RGB squares."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hypertail.errors import DataError
from hypertail.streams import read_images
from support.errors import refused
from support.image_sources import noise_image


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
    with refused(DataError, problem=f"image '{bad}'", required="readable", hint=("Replace", "delete")):
        read_images([tmp_path / "good.png", bad], 32)


def test_truncated_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "half.png"
    noise_image(0).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with refused(DataError, problem=f"image '{path}'", found="OSError"):
        read_images([path], 32)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with refused(DataError, problem=f"image '{tmp_path / 'gone.png'}'", found="FileNotFoundError"):
        read_images([tmp_path / "gone.png"], 32)


def broken_exif(orientation: int) -> bytes:
    """An Orientation beside a text tag that points behind the end of the data."""
    head = b"Exif\x00\x00II*\x00\x08\x00\x00\x00"
    entries = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0) + struct.pack("<HHII", 0x010F, 2, 40, 9999)
    entries += struct.pack("<HHII", 0x8769, 4, 1, 0xFFFFFF) + struct.pack("<HHII", 0x011A, 5, 1, 8888)
    return head + struct.pack("<H", 4) + entries + b"\0\0\0\0"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("shape", ["pointer", "type", "cut"])
def test_case_13_broken_tags_beside_an_orientation(tmp_path: Path, kind: str, shape: str) -> None:
    """Case 13: an image whose pixels decode is read, and turned where its Orientation can be made out."""
    image = Image.new("RGB", (64, 64), "black")
    image.paste((255, 255, 255), (0, 0, 64, 32))  # the upper half
    exif = broken_exif(3)
    if shape == "type":  # an Orientation that is a fraction, and a text that says it is a number
        exif = exif.replace(struct.pack("<HHI", 0x0112, 3, 1), struct.pack("<HHI", 0x0112, 5, 1))
    elif shape == "cut":
        exif = exif[:20]
    path = tmp_path / "photo.jpg"
    image.save(path, kind, exif=exif, lossless=True)
    pixels = read_images([path], 16)[0]
    upright = pixels[:, 4].float().mean() > 200
    assert upright or pixels[:, 12].float().mean() > 200
    if shape == "pointer":
        assert not upright, "it was not turned"


BROKEN = {
    "YCbCrPositioning of two bytes": (0x0213, 1, 2, 1),
    "YCbCrPositioning too large": (0x0213, 16, 2, 0),
    "Make as a number": (0x010F, 11, 1, 70),
    "Artist as a fraction": (0x013B, 5, 1, 26),
    "DateTimeOriginal as a large number": (0x9003, 16, 1, 70),
    "XResolution as text": (0x011A, 2, 2, 60),
    "YResolution as bytes": (0x011B, 1, 3, 65535),
    "InteroperabilityIFD below zero": (0xA005, 8, 2, 65535),
    "GPSInfo before the beginning": (0x8825, 6, 1, 65535),
    "GPSInfo far beyond the end": (0x8825, 16, 2, 60),
}


@pytest.mark.parametrize("tag", BROKEN)
def test_case_13_tags_of_the_wrong_type(tmp_path: Path, tag: str) -> None:
    """Case 13: turning rewrote all tags, which fails on one that is not what it should be; nothing has to."""
    entries = sorted([(0x0112, 3, 1, 6), BROKEN[tag]])
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2)
    exif += b"".join(struct.pack("<HHII", *entry) for entry in entries) + b"\0" * 4 + b"\xff" * 40
    image = Image.new("RGB", (32, 32), "black")
    image.paste((255, 255, 255), (0, 0, 16, 32))  # the left half
    path = tmp_path / "photo.jpg"
    image.save(path, "JPEG", exif=exif, quality=95)
    pixels = read_images([path], 16)[0].float()
    assert pixels[:, :6].mean() > 200, "turned a quarter to the right, the left half is above"
    assert pixels[:, 10:].mean() < 50
