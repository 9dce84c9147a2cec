"""Images of a task from whatever the user has, and their features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hypertail.bank import Preprocessing
from hypertail.bank.images.features import Features
from hypertail.bank.images.held import ImagesInMemory, ImagesOnDisk
from hypertail.bank.images.opening import hold_out, open_images
from hypertail.bank.images.pixels import pixel_batches, single
from hypertail.bank.sources import given_backbone
from hypertail.errors import DataError
from hypertail.training.features.spill import Spill
from support.banks import PIXELS, SIZE, WARM, folder, pictures, resnet, transformer
from support.errors import refused


def test_a_folder_in_memory_and_on_disk_is_the_same(tmp_path: Path) -> None:
    place = folder(tmp_path / "photos", WARM, 5)
    held = open_images(place, PIXELS)
    left = open_images(place, PIXELS, memory_bytes=0)
    assert isinstance(held, ImagesInMemory)
    assert isinstance(left, ImagesOnDisk)
    assert held.classes == left.classes == tuple(sorted(WARM))
    assert torch.equal(held.labels, left.labels)
    assert torch.equal(held.pixels(range(15)), left.pixels(range(15)))
    assert torch.equal(left.subset([3, 7]).pixels([1]), held.pixels([7]))


@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_neither_place_nor_names_decide_anything(memory: int, tmp_path: Path) -> None:
    """case 5."""
    one = folder(tmp_path / "one", WARM, 6)
    two = tmp_path / "elsewhere" / "two"
    for number, file in enumerate(sorted(one.rglob("*.png"), reverse=True)):
        target = two / file.parent.name / f"{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    a, b = (open_images(place, PIXELS, memory_bytes=memory) for place in (one, two))
    assert a.digest == b.digest
    assert torch.equal(a.pixels(range(18)), b.pixels(range(18)))
    for x, y in zip(hold_out(a, 0.3, 1), hold_out(b, 0.3, 1), strict=True):
        assert torch.equal(x.pixels(range(len(x))), y.pixels(range(len(y))))


def test_a_test_folder_is_what_lies_beside(tmp_path: Path) -> None:
    folder(tmp_path / "x" / "train", WARM, 4)
    folder(tmp_path / "x" / "test", WARM[:2], 2, seed=1)
    images = open_images(tmp_path / "x", PIXELS)
    assert len(images) == 12
    assert images.test is not None
    assert len(images.test) == 4
    assert images.test.classes == images.classes
    assert any("12 training images" in notice for notice in images.notices)


def test_arrays_of_every_shape() -> None:
    pixels, labels = pictures(WARM, 3)
    wanted = open_images((pixels, labels), PIXELS)
    last = np.ascontiguousarray(pixels.numpy().transpose(0, 2, 3, 1))
    for images in (last, pixels.float() / 255, list(pixels), [Image.fromarray(each) for each in last]):
        found = open_images((images, labels), PIXELS)
        assert found.classes == wanted.classes
        assert (found.pixels(range(9)).int() - wanted.pixels(range(9)).int()).abs().max() <= 1
    grey = open_images((pixels[:, 0], labels), PIXELS).pixels([0])
    assert torch.equal(grey[0, 0], grey[0, 2])
    assert open_images((pixels, [2, 2, 2, 0, 0, 0, 5, 5, 5]), PIXELS).classes == ("0", "2", "5")
    named = open_images((pixels, torch.arange(9) % 2, ["cat", "dog", "mouse"]), PIXELS)
    assert named.classes == ("cat", "dog")


def test_a_dataset_of_the_hub() -> None:
    import datasets

    pixels, labels = pictures(WARM, 3)
    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=list(WARM)))
    rows = [Image.fromarray(each.permute(1, 2, 0).contiguous().numpy()) for each in pixels]
    data = datasets.Dataset.from_dict(
        {"image": rows, "label": [WARM.index(label) for label in labels]}, features=features
    )
    found = open_images(data, PIXELS)
    assert found.classes == WARM
    assert torch.equal(found.pixels(range(9)), pixels)


def test_one_class_is_enough_for_a_dataset_where_it_is_for_a_folder() -> None:
    import datasets

    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=list(WARM)))
    rows = [Image.fromarray(each.permute(1, 2, 0).contiguous().numpy()) for each in pictures(("red",), 3)[0]]
    data = datasets.Dataset.from_dict({"image": rows, "label": [WARM.index("red")] * 3}, features=features)
    assert open_images(data, PIXELS, least_classes=1).classes == ("red",)
    assert open_images(data, PIXELS, classes=WARM).labels.tolist() == [WARM.index("red")] * 3
    with refused(DataError, required="at least two", found="red"):
        open_images(data, PIXELS)


def test_a_lonely_class_called_train_is_a_vehicle_where_one_class_is_enough(tmp_path: Path) -> None:
    folder(tmp_path / "vehicles" / "train", ("",), 3)
    assert open_images(tmp_path / "vehicles", PIXELS, least_classes=1).classes == ("train",)
    folder(tmp_path / "split" / "train", ("red",), 3)
    assert open_images(tmp_path / "split", PIXELS, least_classes=1).classes == ("red",)
    with refused(DataError, required="at least two class folders"):
        open_images(tmp_path / "vehicles", PIXELS)
    (tmp_path / "empty").mkdir()
    with refused(DataError, required="a class folder with images", found="no class folder"):
        open_images(tmp_path / "empty", PIXELS, least_classes=1)


def test_ways_to_reach_a_square(tmp_path: Path) -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    crop = Preprocessing(10, resize="crop")
    ((pixels, paths),) = pixel_batches(tmp_path / "wide.png", crop)
    assert paths == [str(tmp_path / "wide.png")]
    assert int(pixels.min()) > 200
    ((pixels, _),) = pixel_batches(tmp_path / "wide.png", Preprocessing(12))
    assert int(pixels[0, 0, 5, 0]) == 0
    assert int(pixels[0, 0, 5, 6]) == 255
    middle = Preprocessing(10, resize="crop", crop_share=0.5)
    ((pixels, _),) = pixel_batches(torch.from_numpy(wide), middle)
    assert pixels.shape == (1, 3, 10, 10)
    assert int(pixels.min()) > 200


def test_deep_images_are_scaled_by_one_rule_also_on_disk(tmp_path: Path) -> None:
    """case 9."""
    for label, level in (("a", 400), ("b", 4000)):
        (tmp_path / label).mkdir()
        for number in range(2):
            Image.fromarray(np.full((SIZE, SIZE), level, np.uint16)).save(tmp_path / label / f"{number}.png")
    held, left = open_images(tmp_path, PIXELS), open_images(tmp_path, PIXELS, memory_bytes=0)
    assert torch.equal(held.pixels(range(4)), left.pixels(range(4)))
    assert held.pixels([0]).max() < 40 < 240 < held.pixels([3]).min()
    assert any("12 bits" in notice for notice in left.notices)


def test_what_one_image_is() -> None:
    assert single("x.png")
    assert single(torch.zeros(3, 5, 5))
    assert single(np.zeros((5, 5, 3)))
    assert single(torch.zeros(5, 5))
    assert not single(torch.zeros(2, 3, 5, 5))
    assert not single(["x.png"])


def test_refusals(tmp_path: Path) -> None:
    pixels, labels = pictures(WARM, 2)
    with refused(DataError, required="one for each", found="5 labels for 6"):
        open_images((pixels, labels[:5]), PIXELS)
    with refused(DataError, required="0 to 1", hint="uint8"):
        open_images((pixels.float(), labels), PIXELS)
    with refused(DataError, problem="classes of a task", found="red"):
        open_images((pixels, ["red"] * 6), PIXELS)
    with refused(DataError, problem="images of a task", found="int"):
        open_images(3, PIXELS)
    with refused(DataError, required="read again", hint="list("):
        open_images((iter(pixels), labels), PIXELS)
    with refused(DataError, found="blue"):
        open_images((pixels, ["red", "blue"] * 3), PIXELS, classes=("red", "green"))
    with refused(DataError, problem="x.png"):
        list(pixel_batches(tmp_path / "x.png", PIXELS))
    (tmp_path / "none").mkdir()
    with refused(DataError, found="none"):
        list(pixel_batches(tmp_path / "none", PIXELS))
    place = folder(tmp_path / "photos", WARM, 2)
    (place / "red" / "bad.png").write_bytes(b"x")
    with refused(DataError, problem="bad.png"):
        open_images(place, PIXELS, memory_bytes=0)


def test_a_class_with_one_image_keeps_it() -> None:
    pixels, _ = pictures(("red", "green"), 4)
    images = open_images((pixels[:5], ["a", "a", "a", "a", "b"]), PIXELS)
    train, held = hold_out(images, 0.25, 0)
    assert sorted(train.labels.tolist()) == [0, 0, 0, 1]
    assert held.labels.tolist() == [0]
    assert "b" in train.notices[-1]


@pytest.mark.parametrize("model", ["resnet", "transformer"])
def test_features_are_those_of_each_image(model: str) -> None:
    network, cut = (resnet(), "layer2") if model == "resnet" else (transformer(), "blocks.1")
    backbone = given_backbone(network, cut, preprocessing=PIXELS)
    images = open_images(pictures(WARM, 5), PIXELS)
    features = Features(backbone, images, views=2, augment="crop", seed=3)
    plain = features.plain()
    for row in range(15):
        torch.testing.assert_close(plain[row : row + 1], backbone.features(images.pixels([row])), atol=1e-5, rtol=1e-4)
    assert not torch.equal(features.view(0), features.view(1))
    assert torch.equal(features.view(1), Features(backbone, images, views=2, augment="crop", seed=3).view(1))
    assert not torch.equal(features.view(1), Features(backbone, images, views=2, augment="crop", seed=4).view(1))
    assert torch.equal(Features(backbone, images, views=5, augment="none", seed=0).view(4), plain)


def test_where_features_are_kept_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = given_backbone(resnet(), "layer2", preprocessing=PIXELS)
    images = open_images(pictures(WARM, 7), PIXELS)
    wanted = Features(backbone, images, views=2, augment="crop-flip", seed=0)
    spilled = Features(
        backbone, images, views=2, augment="crop-flip", seed=0, memory_bytes=0, spill=Spill(tmp_path, reserve_bytes=0)
    )
    nowhere = Features(
        backbone, images, views=2, augment="crop-flip", seed=0, memory_bytes=0, spill=Spill(tmp_path / "no")
    )
    monkeypatch.setattr("hypertail.bank.images.features.PIXELS", 5 * SIZE**2)
    for _ in range(2):
        for view in (0, 1):
            torch.testing.assert_close(spilled.view(view), wanted.view(view), atol=1e-6, rtol=1e-5)
            torch.testing.assert_close(nowhere.view(view), wanted.view(view), atol=1e-6, rtol=1e-5)
    assert not list(tmp_path.iterdir())
    assert wanted.view(0).is_contiguous(memory_format=torch.channels_last)
