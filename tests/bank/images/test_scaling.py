"""Images of more than 8 bits look to a task as those that it learned from did, whatever they come with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hypertail.bank import Bank
from hypertail.bank.images.opening import open_images
from hypertail.bank.images.pixels import all_pixels, pixel_batches
from hypertail.bank.record import TaskRecord
from hypertail.errors import CheckpointError
from hypertail.streams.sources.depth import Rule, scaling_from_json, scaling_to_json
from support.banks import PIXELS, SIZE, WARM, folder, new_bank, pictures
from support.errors import refused

DIM, BRIGHT = 800, 3600
TWELVE = {True: Rule(0, 4095, "")}


def deep(place: Path, level: int, number: int = 0) -> Path:
    """A noisy 16-bit image about a level."""
    noise = np.random.default_rng(number).integers(-90, 90, (SIZE, SIZE))
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((level + noise).astype(np.uint16)).save(place)
    return place


def levels(place: Path, count: int = 8, first: int = 0, **of: int) -> Path:
    """A folder of class folders, each of images about a level."""
    for label, level in of.items():
        for number in range(first, first + count):
            deep(place / label / f"{number}.png", level, number)
    return place


def taught(place: Path, **options: object) -> Bank:
    """A bank with a task that tells dim images from bright ones."""
    bank = new_bank(place / "bank")
    photos = levels(place / "photos", dim=DIM, bright=BRIGHT)
    bank.learn("light", photos, **{"method": "head", "epochs": 30, **options})  # type: ignore[arg-type]
    return bank


def chance(bank: Bank, images: object, task: object = "light", **options: int) -> list[tuple[str | None, float]]:
    found = bank.predict(images, task, **options)  # type: ignore[arg-type]
    return [(each.label, round(each.probability, 4)) for each in (found if isinstance(found, list) else [found])]


def test_an_answer_does_not_depend_on_what_comes_with_the_image(tmp_path: Path) -> None:
    bank = taught(tmp_path)
    dim, bright = deep(tmp_path / "a.png", DIM, 70), deep(tmp_path / "b.png", BRIGHT, 71)
    brightest = deep(tmp_path / "c.png", 60000, 72)
    alone = chance(bank, dim)
    assert alone[0][0] == "dim"
    for images, options in (([dim, bright], {}), ([dim, brightest], {}), ([dim, brightest], {"batch_size": 1})):
        assert chance(bank, images, **options)[:1] == alone
        assert chance(bank, images, None, **options)[:1] == chance(bank, dim, None)
    with Image.open(dim) as opened:
        assert chance(bank, [opened, brightest])[:1] == alone
    (rows,), (row,) = list(bank.probabilities([dim, brightest])), list(bank.probabilities([dim]))
    assert rows[0] == pytest.approx(row[0], abs=1e-5)


def test_test_data_and_validation_are_scaled_as_the_training_images(tmp_path: Path) -> None:
    dim = levels(tmp_path / "dim", first=80, dim=DIM)
    bank = taught(tmp_path, validation=levels(tmp_path / "held", first=80, dim=DIM, bright=BRIGHT))
    assert bank.tasks["light"].held_out_accuracy == 1
    assert bank.evaluate("light", dim) == 1


def test_more_images_are_scaled_as_the_first_ones(tmp_path: Path) -> None:
    bank = taught(tmp_path, hold_out=0)
    before = bank._contents.record("light")
    photos = tmp_path / "photos" / "dim"
    bank.extend("light", ([*photos.iterdir()], ["dim"] * 8))
    after = bank._contents.record("light")
    torch.testing.assert_close(after.hidden["means"], before.hidden["means"], atol=1e-2, rtol=1e-2)
    assert scaling_to_json(after.scaling) == {"whole numbers": {"black": 0, "white": 4095}}


def test_each_task_has_its_own_rule(tmp_path: Path) -> None:
    bank = taught(tmp_path)
    bank.learn("colours", folder(tmp_path / "colours", WARM, 4), method="head", epochs=1)
    deeper = levels(tmp_path / "deeper", dim=20000, bright=60000)
    bank.learn("glare", deeper, method="head", epochs=30)
    image = deep(tmp_path / "a.png", DIM, 70)
    mixed = chance(bank, [image, image, image], ["light", "glare", None])
    assert mixed == chance(bank, image) + chance(bank, image, "glare") + chance(bank, image, None)
    assert [scaling_to_json(bank._contents.record(name).scaling) for name in bank.tasks] == [
        {"whole numbers": {"black": 0, "white": 4095}},
        {},
        {"whole numbers": {"black": 0, "white": 65535}},
    ]


@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_known_rules_hold_for_every_kind_of_data(memory: int, tmp_path: Path) -> None:
    import datasets

    photos = levels(tmp_path / "photos", count=1, a=DIM, b=DIM)
    files, labels = sorted(photos.rglob("*.png")), ["a", "b"]
    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=labels))
    table = datasets.Dataset.from_dict({"image": [str(file) for file in files], "label": [0, 1]}, features=features)
    for data in (photos, table, (files, labels), ([Image.open(file) for file in files], labels)):
        images = open_images(data, PIXELS, memory_bytes=memory, scaling=TWELVE)
        assert 40 < images.pixels([0, 1]).float().mean() < 60
        assert images.scaling[True].white == 4095
        assert any("so that 0 is black and 4095 white" in notice for notice in images.notices)
        assert open_images(data, PIXELS, memory_bytes=memory).scaling[True].white == 1023


def test_images_that_belong_together_have_one_rule(tmp_path: Path) -> None:
    """case 9: a list of PIL images, too."""
    files = [deep(tmp_path / "a.png", DIM), deep(tmp_path / "b.png", BRIGHT)]
    by_path, _, said, _ = all_pixels(files, PIXELS)
    opened, scaling, *_ = all_pixels([Image.open(file) for file in files], PIXELS)
    assert torch.equal(by_path, opened)
    assert scaling[True].white == 4095
    assert "12 bits" in said[0]
    ((pixels, _),) = pixel_batches([Image.open(file) for file in files], PIXELS)
    assert torch.equal(pixels, by_path)


def test_rules_come_back_from_a_file_as_they_were(tmp_path: Path) -> None:
    rules = {True: Rule(0, 4095, "a"), False: Rule(-3.5, 12.25, "b")}
    again = scaling_from_json(scaling_to_json(rules))
    assert {whole: (rule.black, rule.white) for whole, rule in again.items()} == {True: (0, 4095), False: (-3.5, 12.25)}
    bank = new_bank(tmp_path / "bank")
    bank.learn("warm", pictures(WARM, 4), method="head", epochs=1)
    tensors, facts = bank._contents.record("warm").to_file()
    assert "scaling" not in facts["facts"]
    assert TaskRecord.from_file(tensors, facts).scaling == {}
    facts["facts"]["scaling"] = {"whole numbers": {"black": 5, "white": 5}}
    with refused(CheckpointError, problem="file of a task", found="black 5"):
        TaskRecord.from_file(tensors, facts)


def test_an_exported_model_says_how_deep_images_were_scaled(tmp_path: Path) -> None:
    bank = taught(tmp_path, epochs=1)
    bank.learn("warm", pictures(WARM, 4), epochs=1, method="head")
    said = []
    for name in ("light", "warm"):
        bank.export(name, tmp_path / f"{name}.safetensors")
        said.append(json.loads((tmp_path / f"{name}.safetensors.json").read_text()))
    assert scaling_from_json(said[0]["deep_images"]) == bank._contents.record("light").scaling != {}
    assert "deep_images" not in said[1]
