"""Images as a user hands them over: PIL images as their files, and arrays by the meaning of their axes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Subset

from hypertail.bank import Preprocessing
from hypertail.bank.images.opening import open_images
from hypertail.bank.images.pixels import pixel_batches, read_batches, single
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


# --- encoded ------------------------------------------------------------------------------------------------------


def test_encoded_images_are_read_as_their_files(tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    noise_image(3, (40, 20)).save(file)
    content = file.read_bytes()
    for encoded in (content, bytearray(content), memoryview(content), io.BytesIO(content)):
        assert single(encoded)
        assert torch.equal(pixels(encoded), pixels(file))
    with file.open("rb") as opened:
        assert torch.equal(pixels([content, opened, file]), pixels([file] * 3))
    labelled = open_images(([content, io.BytesIO(content)], ["a", "b"]), PIXELS)
    assert torch.equal(labelled.pixels([0]), pixels(file))
    later = io.BytesIO(b"head" + content)
    later.seek(4)
    assert torch.equal(pixels(later), pixels(later))  # an image may be read twice
    assert later.tell() == 4


def test_what_is_no_encoded_image_is_refused(tmp_path: Path) -> None:
    with refused(DataError, problem="image of 8 bytes", found="no image format", hint="bytes of an image file"):
        pixels(b"no image")
    with refused(DataError, problem="open file", found="its end", hint="seek(0)"):
        pixels(io.BytesIO())
    with refused(DataError, found="a text file", hint="'rb'"):
        pixels(io.StringIO("x"))
    closed = io.BytesIO(b"x")
    closed.close()
    with refused(DataError, found="closed file"):
        pixels(closed)
    huge = tmp_path / "huge.png"
    Image.new("1", (20000, 20000)).save(huge)
    with refused(DataError, found="DecompressionBombError"):
        pixels(huge.read_bytes())


def test_bad_ones_are_left_out_where_they_are_to_be_skipped(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    noise_image(3, (20, 20)).save(good)
    bad.write_bytes(good.read_bytes()[:60])
    for images in ([bad, good], [bad.read_bytes(), good.read_bytes()], [bad.read_bytes(), bad]):
        (batch,) = read_batches(images, PIXELS, on_bad_image="skip")
        count = images.count(good) + images.count(good.read_bytes())
        assert (len(batch.pixels), sorted(batch.errors)) == (count, list(range(2 - count)))
    with refused(DataError, problem="gone.png"):
        list(read_batches([tmp_path / "gone.png", good], PIXELS, on_bad_image="skip"))
    with refused(DataError, problem="array"):
        list(read_batches([np.zeros((5, 5), dtype=np.int64), good], PIXELS, on_bad_image="skip"))


class Files(Dataset[tuple[Any, int]]):
    """Pairs of a path and a number."""

    classes = ("cat", "dog", "eel")

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> tuple[Any, int]:
        return self.files[row], row


@pytest.mark.parametrize("kind", ["paths", "bytes", "dataset"])
def test_bad_ones_among_labelled_images_are_left_out_with_their_labels(kind: str, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for number, file in enumerate(files):
        noise_image(number, (20, 20)).save(file)
    expected = [pixels(files[0]), pixels(files[2])]
    files[1].write_bytes(files[1].read_bytes()[:60])
    names = ["cat", "dog", "eel"]
    data: Any = {
        "paths": (files, names),
        "bytes": ([file.read_bytes() for file in files], names),
        "dataset": Files(files),
    }[kind]
    found = open_images(data, PIXELS, on_bad_image="skip")
    assert [found.classes[label] for label in found.labels] == ["cat", "eel"]
    assert torch.equal(found.pixels([0, 1]), torch.cat(expected))
    assert "number 1" in found.notices[-1] if kind == "bytes" else "1.png" in found.notices[-1]
    with refused(DataError, found="image"):
        open_images(data, PIXELS)
    with refused(DataError, problem="images", found="none"):
        open_images(([files[1]], ["dog"]), PIXELS, on_bad_image="skip", least_classes=1)


@pytest.mark.filterwarnings("error")
def test_the_array_of_a_pil_image_is_read_without_a_warning() -> None:
    found = np.asarray(noise_image(3, (20, 20)))
    assert not found.flags.writeable
    assert pixels(found).shape == (1, 3, SIZE, SIZE)


# --- datasets -----------------------------------------------------------------------------------------------------


class Pairs(Dataset[tuple[Any, int]]):
    """Pairs of an image and a number."""

    classes = ("cat", "dog", "eel")

    def __init__(self, bad: int = -1) -> None:
        self.bad = bad

    def __len__(self) -> int:
        return 6

    def __getitem__(self, row: int) -> tuple[Any, int]:
        if row == self.bad:
            raise OSError("cannot identify image file")
        return noise_image(row, (20, 20)), row % 2


def test_a_torch_dataset_is_read_as_its_pairs() -> None:
    found = open_images(Pairs(), PIXELS)
    listed = open_images(([noise_image(row, (20, 20)) for row in range(6)], ["cat", "dog"] * 3), PIXELS)
    assert (found.classes, found.digest) == (("cat", "dog"), listed.digest)
    part = open_images(Subset(Pairs(), [0, 1, 2]), PIXELS)
    assert (part.classes, part.labels.tolist()) == (("cat", "dog"), [0, 1, 0])
    assert len(open_images(Pairs(2), PIXELS, on_bad_image="skip")) == 5
    with refused(DataError, problem="example 2 of the Pairs", found="cannot identify"):
        open_images(Pairs(2), PIXELS)


def test_other_kinds_of_data_are_told_what_to_give() -> None:
    pairs = [(noise_image(row, (20, 20)), row % 2) for row in range(4)]
    kinds = [(DataLoader(Pairs()), "loader.dataset"), ({"train": Pairs()}, "dataset['train']"), (pairs, "zip(*pairs)")]
    for data, hint in (*kinds, (iter(pairs), "lists")):
        with refused(DataError, problem="images of a task", hint=hint):
            open_images(data, PIXELS)
    assert open_images(tuple(zip(*pairs, strict=True)), PIXELS).classes == ("0", "1")
    with refused(DataError, problem="classes of a task", found="1 class ('0')"):
        open_images(([image for image, _ in pairs], [0] * 4), PIXELS)
