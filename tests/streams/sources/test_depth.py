"""Images of more than 8 bits are scaled by one rule for a whole dataset (case 9)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from hypertail.streams import build_stream, experience_from_folder, read_images
from hypertail.streams.sources.folders import image_folder
from hypertail.streams.sources.hub import HubSource, hub_dataset
from hypertail.streams.sources.labelled import LabelledImages
from support.image_sources import write_split

Values = npt.NDArray[np.float64]
SIDE = 16


def pictures(count: int = 8) -> Values:
    """Values 0..1, (count, SIDE, SIDE); the greatest and the least are there in the last alone."""
    shares = np.random.default_rng(0).uniform(0.1, 0.8, (count, SIDE, SIDE))
    shares[-1, 0, :2] = 0, 1
    return shares


def write(root: Path, images: list[Image.Image], suffix: str) -> None:
    for number, image in enumerate(images):
        folder = root / ("test" if number % 4 == 3 else "train") / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        for twin in ("a", "b"):  # each class in each split
            (folder.parent / twin).mkdir(exist_ok=True)
            image.save(folder.parent / twin / f"{number}-{twin}{suffix}")


def whole(bits: int, dtype: str) -> Callable[[Values], Image.Image]:
    return lambda shares: Image.fromarray((shares * (2**bits - 1)).round().astype(dtype))


def fractions(top: float, low: float = 0) -> Callable[[Values], Image.Image]:
    return lambda shares: Image.fromarray((low + shares * (top - low)).astype(np.float32))


def levels(images: LabelledImages) -> list[list[int]]:
    parts = [images.train, *([images.test] if images.test else [])]
    return sorted(image[0].flatten().tolist() for part in parts for image in part.images)


def notices(images: LabelledImages) -> str:
    assert images.report is not None
    return "\n".join(images.report.notices)


KINDS = [
    pytest.param(whole(12, "uint16"), ".png", "taken as 12 bits, so that 4095 is white", id="12 bits in a 16-bit PNG"),
    pytest.param(whole(12, "uint16"), ".tif", "taken as 12 bits, so that 4095 is white", id="12 bits in a 16-bit TIFF"),
    pytest.param(whole(10, "uint16"), ".png", "taken as 10 bits, so that 1023 is white", id="10 bits"),
    pytest.param(whole(14, "uint16"), ".tif", "taken as 14 bits, so that 16383 is white", id="14 bits"),
    pytest.param(whole(16, "uint16"), ".png", "taken as 16 bits, so that 65535 is white", id="16 bits"),
    pytest.param(whole(8, "uint16"), ".png", "taken as 8 bits, 0 to 255", id="8 bits in a 16-bit PNG"),
    pytest.param(whole(8, "int32"), ".tif", "taken as 8 bits, 0 to 255", id="8 bits in a 32-bit TIFF"),
    pytest.param(whole(24, "int32"), ".tif", "taken as 24 bits, so that 16777215 is white", id="24 bits in 32"),
    pytest.param(fractions(1), ".tif", "scaled so that 0 is black and 1 white", id="fractions to 1"),
    pytest.param(fractions(255), ".tif", "taken as 8 bits, 0 to 255", id="fractions to 255"),
    pytest.param(fractions(4095), ".tiff", "taken as 12 bits, so that 4095 is white", id="fractions to 4095"),
    pytest.param(fractions(1, -1), ".tif", "scaled so that -1 is black and 1 white", id="fractions from -1"),
    pytest.param(fractions(3071, -1024), ".tif", "scaled so that -1024 is black and 3071 white", id="Hounsfield units"),
    pytest.param(fractions(1), ".pfm", "scaled so that 0 is black and 1 white", id="PFM"),
]


@pytest.mark.parametrize(("make", "suffix", "words"), KINDS)
def test_case_09_every_kind_uses_the_whole_range(
    tmp_path: Path, make: Callable[[Values], Image.Image], suffix: str, words: str
) -> None:
    """Case 9: the levels are those of the same pictures written with 8 bits, and the rule is said."""
    shares = pictures()
    write(tmp_path / "deep", [make(share) for share in shares], suffix)
    write(tmp_path / "plain", [Image.fromarray((share * 255).round().astype(np.uint8)) for share in shares], ".png")
    deep, plain = (image_folder(tmp_path / name, image_size=SIDE) for name in ("deep", "plain"))
    assert np.abs(np.array(levels(deep)) - np.array(levels(plain))).max() <= 1
    assert words in notices(deep)
    assert "nearly" not in notices(deep)
    assert torch.equal(deep.train.images[:, 0], deep.train.images[:, 2])


def test_case_09_one_rule_for_training_and_test_images(tmp_path: Path) -> None:
    """Case 9: an image keeps its grey whatever else is in its split."""
    write(tmp_path, [whole(12, "uint16")(share) for share in pictures()], ".png")
    grey = Image.fromarray(np.full((SIDE, SIDE), 2048, np.uint16))
    for folder in ("train", "test"):
        grey.save(tmp_path / folder / "a" / "grey.png")
    images = image_folder(tmp_path, image_size=SIDE)
    assert images.test is not None
    for part in (images.train, images.test):
        assert any(image.unique().tolist() == [128] for image in part.images)


def test_case_09_plain_images_beside_deep_ones_stay_as_they_are(tmp_path: Path) -> None:
    """Case 9: a rule is for the deep images alone."""
    write(tmp_path, [whole(12, "uint16")(share) for share in pictures()], ".png")
    Image.new("RGB", (SIDE, SIDE), (10, 20, 30)).save(tmp_path / "train" / "a" / "plain.png")
    images = image_folder(tmp_path, image_size=SIDE)
    assert any(image.flatten(1).unique(dim=1).flatten().tolist() == [10, 20, 30] for image in images.train.images)


@pytest.mark.parametrize("reader", ["stream", "experience", "hub", "files"])
def test_case_09_all_loaders(tmp_path: Path, reader: str) -> None:
    """Case 9: brothers in `folder:`, `experience_from_folder`, parquet and `read_images`."""
    images = [whole(12, "uint16")(share) for share in pictures()]
    if reader == "hub":
        import io

        cells = []
        for image in images:
            image.save(buffer := io.BytesIO(), "PNG")
            cells.append(buffer.getvalue())
        write_split(tmp_path, "a/b", "train", cells[:6], ["x", "y"] * 3)
        write_split(tmp_path, "a/b", "test", cells[6:], ["x", "y"])
        found = hub_dataset(HubSource("a/b"), image_size=SIDE, data=tmp_path)
        assert "taken as 12 bits" in notices(found)
        pixels = found.train.images
    else:
        write(tmp_path, images, ".png")
        if reader == "stream":
            stream = build_stream(f"folder:{tmp_path}", image_size=SIDE)
            assert any("taken as 12 bits" in line for line in stream.reports[0].lines())
            pixels = stream[0].train.images
        elif reader == "experience":
            experience = experience_from_folder(tmp_path, image_size=SIDE)
            assert experience.report is not None
            assert any("taken as 12 bits" in line for line in experience.report.lines())
            pixels = experience.train.images
        else:
            pixels = read_images(sorted(tmp_path.rglob("*.png")), SIDE)
    assert pixels.float().mean().item() == pytest.approx(0.45 * 255, abs=8)


def plain(low: int, high: int) -> Callable[[int], Image.Image]:
    def make(number: int) -> Image.Image:
        return Image.fromarray(np.random.default_rng(number).integers(low, high, (SIDE, SIDE, 3), dtype=np.uint8))

    return make


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (plain(0, 16), "100% of the images looked at are nearly black"),
        (plain(200, 204), "100% of the images looked at are nearly of one colour"),
        (plain(0, 256), ""),
        (plain(0, 40), ""),
    ],
)
def test_case_09_nearly_black_data_is_told(tmp_path: Path, make: Callable[[int], Image.Image], words: str) -> None:
    """Case 9: 8-bit images of 12-bit data cut to its upper 8 bits, say."""
    write(tmp_path, [make(number) for number in range(8)], ".png")
    found = notices(image_folder(tmp_path, image_size=SIDE))
    assert words in found
    assert ("nearly" in found) is bool(words)


def test_case_09_a_stuck_pixel_does_not_hide_black_images(tmp_path: Path) -> None:
    """Case 9: 12 bits with one pixel at 65535 are taken for 16 bits, and are told to be nearly black."""
    shares = pictures()
    deep = [(share * 4095).astype(np.uint16) for share in shares]
    for values in deep:
        values[3, 3] = 65535
    write(tmp_path, [Image.fromarray(values) for values in deep], ".png")
    assert "nearly black" in notices(image_folder(tmp_path, image_size=SIDE))


def test_case_09_digits_on_black_are_not_nearly_black(tmp_path: Path) -> None:
    """Case 9: a few bright lines are something to see."""
    values = np.zeros((SIDE, SIDE), np.uint8)
    values[4:12, 8] = 255
    write(tmp_path, [Image.fromarray(np.roll(values, number, 1)) for number in range(8)], ".png")
    assert "nearly" not in notices(image_folder(tmp_path, image_size=SIDE))


def test_what_is_no_number_is_black(tmp_path: Path) -> None:
    shares = pictures().astype(np.float32)
    shares[0, 0, 0], shares[0, 0, 1] = np.nan, np.inf
    write(tmp_path, [Image.fromarray(share) for share in shares], ".tif")
    found = image_folder(tmp_path, image_size=SIDE)
    assert "values 0 to 1: scaled so that 0 is black" in notices(found)


def test_deep_images_are_turned_and_framed_like_others(tmp_path: Path) -> None:
    values = np.zeros((SIDE, SIDE), np.uint16)
    values[: SIDE // 2] = 65535
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(values).save(tmp_path / "x.png", exif=exif)
    pixels = read_images([tmp_path / "x.png"], SIDE)[0]
    assert pixels[:, : SIDE // 2].max() == 0
    assert pixels[:, SIDE // 2 :].min() == 255


def test_colour_of_16_bits_is_told(tmp_path: Path) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        sum_ = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", sum_)

    rows = b"".join(b"\0" + bytes([40, 1] * 3 * 4) for _ in range(4))
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0))
    content += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(content)
    assert "2 images of 16 bits a channel in colour: read at their upper 8 bits" in notices(image_folder(tmp_path))
