"""How an image finds its task: from which vectors, at which temperature, and from the tasks that can be read."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import hypertail as ht
from hypertail.bank.founding import described, made_again
from hypertail.bank.inference import Descriptor
from hypertail.bank.inference.alone import learned_alone
from hypertail.bank.inference.descriptor import projection
from hypertail.bank.record import TaskRecord
from hypertail.bank.sources import given_backbone
from hypertail.bank.store import Entry
from hypertail.errors import CheckpointError
from hypertail.nets.pooled import pooled
from hypertail.seeds import generator
from support.banks import COLD, PIXELS, WARM, answers, new_bank, pictures, resnet, two_tasks
from support.errors import refused

FORMATS = Path(__file__).parents[1] / "formats"


# --- vectors ----------------------------------------------------------------------------------------------------


def pooling() -> nn.Sequential:
    """A model whose features at the cut have as many channels as rows and columns."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4))
    )


def test_wide_vectors_are_projected_by_a_matrix_that_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    wider = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(3 * 12 * 12, 700), nn.ReLU())
    backbone = given_backbone(wider, "1", preprocessing=PIXELS)
    features = torch.rand(3, 432, generator=torch.Generator().manual_seed(1))
    descriptor = Descriptor(backbone)
    projection.cache_clear()
    first = descriptor(features)
    wide = torch.cat((pooled(features, backbone.axis), backbone.body(features)), dim=1)
    drawn = torch.randn(wide.shape[1], 1024, generator=generator(0, "descriptor", wide.shape[1])) / 1024**0.5
    assert torch.equal(first, wide @ drawn)
    monkeypatch.setattr("hypertail.bank.inference.descriptor.generator", None)
    assert torch.equal(descriptor(features), first)


def test_maps_below_pooling_are_pooled_by_channel() -> None:
    backbone = given_backbone(pooling(), "1", preprocessing=PIXELS)
    features = backbone.trunk(torch.rand(4, 3, 12, 12))
    assert features.shape == (4, 8, 8, 8)
    vectors = Descriptor(backbone)(features)
    assert torch.equal(vectors, torch.cat((pooled(features, 1), backbone.body(features)), dim=1))


def test_where_the_channels_are_is_kept_and_an_old_bank_keeps_its_rule(tmp_path: Path) -> None:
    bank = ht.Bank.create(tmp_path / "bank", model=pooling(), cut="1", preprocessing=PIXELS)
    assert ht.Bank.open(tmp_path / "bank", model=pooling()).backbone.axis == 1
    said = json.loads(json.dumps(described(bank.backbone)))
    del said["axis"]
    old = made_again(said, None, pooling(), None)
    features = old.trunk(torch.rand(4, 3, 12, 12))
    vectors = Descriptor(old)(features)
    assert torch.equal(vectors, torch.cat((pooled(features, -1), old.body(features)), dim=1))
    shutil.copytree(FORMATS / "bank-1", tmp_path / "old")
    assert ht.Bank.open(tmp_path / "old", model=resnet()).backbone.axis is None


# --- temperature ------------------------------------------------------------------------------------------------


def test_a_task_learned_alone_says_nothing_of_the_temperature_of_distances(tmp_path: Path) -> None:
    bank = new_bank(tmp_path / "bank")
    bank.learn("warm", pictures(WARM, 40), epochs=1, method="head", hold_out=0.5)
    assert bank._contents.server.task_temperature == 1.0
    bank.learn("cold", pictures(COLD, 40), epochs=1, method="head", hold_out=0.5)
    warm, cold = (bank._contents.record(name).calibration for name in ("warm", "cold"))
    assert "task_temperature" not in warm
    assert warm["threshold"] != cold["threshold"]
    assert bank._contents.server.task_temperature == cold["task_temperature"]


def test_the_threshold_is_that_of_the_newer_tasks_that_were_not_learned_alone(tmp_path: Path) -> None:
    bank = new_bank(tmp_path / "bank")
    bank.learn("warm", pictures(WARM, 12), epochs=1, method="head")
    (alone,) = thresholds(bank)
    assert bank._contents.server.threshold == alone
    for number, many in enumerate((3, 4, 6)):
        for _ in range(many - len(bank.tasks)):
            name = f"cold {len(bank.tasks)}"
            bank.learn(name, pictures(COLD, 12, seed=len(bank.tasks)), epochs=1, method="head")
        found = thresholds(bank)
        newer = found[(1, 1, 3)[number] :]
        assert bank._contents.server.threshold == pytest.approx(sum(newer) / len(newer))
        assert len(set(found)) == many


def thresholds(bank: ht.Bank) -> list[float]:
    return [bank._contents.record(name).calibration["threshold"] for name in bank.tasks]


def test_what_an_old_bank_says_of_it_does_not_count(tmp_path: Path) -> None:
    bank = new_bank(tmp_path / "bank")
    for name, classes in (("warm", WARM), ("cold", COLD)):
        bank.learn(name, pictures(classes, 12), epochs=1, method="head")
    contents = bank._contents
    with contents.store.change() as change:
        record, (warm, cold) = contents.record("warm"), contents.manifest.tasks
        told = replace(record, calibration={**record.calibration, "task_temperature": 0.05})
        change.commit("rename", tasks=(replace(warm, file=change.put("task-0", *told.to_file())), cold))
    bank.refresh()
    assert contents.record("warm").calibration["task_temperature"] == 0.05
    assert contents.server.task_temperature == contents.record("cold").calibration["task_temperature"]


def entry(generation: int, event: str, number: int | None = None, **facts: int) -> Entry:
    return Entry(generation, "", event, None, facts if number is None else {"id": number, **facts})


def test_which_tasks_were_learned_alone() -> None:
    log = [entry(0, "create"), entry(1, "learn", 0), entry(2, "learn", 1), entry(3, "forget", 0)]
    assert learned_alone(log) == {0}
    assert learned_alone([*log, entry(4, "forget", 1), entry(5, "learn", 2), entry(6, "extend", 2)]) == {0, 2}
    assert learned_alone([*log, entry(4, "rollback", to=0), entry(5, "learn", 2)]) == {2}
    assert learned_alone([*log, entry(4, "rollback", to=2), entry(5, "learn", 2)]) == {0}


# --- damage -----------------------------------------------------------------------------------------------------


def test_a_damaged_task_leaves_the_others_usable(tmp_path: Path) -> None:
    bank = two_tasks(tmp_path / "bank", method="head")
    images = pictures(("blue", "light"), 3, seed=4)[0]
    before, logits = bank.predict(images, "cold"), answers(bank, "cold")
    place = bank.path / bank._contents.ref("warm").file.name
    place.write_bytes(place.read_bytes()[:-4] + b"abcd")
    again = ht.Bank.open(tmp_path / "bank", model=resnet())
    assert torch.equal(answers(again, "cold"), logits)
    with pytest.warns(RuntimeWarning, match=r"is inferred: warm\. .*other bytes") as warned:
        told = again.predict(images, "cold")
    assert warned[0].filename == __file__
    assert isinstance(told, list)
    assert isinstance(before, list)
    assert [(each.label, each.probability) for each in told] == [(each.label, each.probability) for each in before]
    found = again.predict(images)
    assert isinstance(found, list)
    assert {each.nearest[0] for each in found if each.nearest} == {"cold"}
    (rows,) = again.probabilities(images)
    assert all(set(row) == set(COLD) for row in rows)
    with refused(CheckpointError, found="other bytes"):
        again.predict(images, "warm")


def test_a_bank_without_a_readable_task_says_why(tmp_path: Path) -> None:
    bank = new_bank(tmp_path / "bank")
    bank.learn("warm", pictures(WARM, 8), epochs=1, method="head")
    (bank.path / bank._contents.ref("warm").file.name).unlink()
    with refused(CheckpointError, required="written"):
        ht.Bank.open(tmp_path / "bank", model=resnet()).predict(pictures(WARM, 1)[0])


# --- memory and precision ---------------------------------------------------------------------------------------


class Lifted(nn.Module):
    """A trunk whose features all have a large common offset."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The features."""
        return self.conv(x) + 2000


def test_features_with_a_large_common_offset_find_their_task(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trunk = Lifted()
    tail = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6), nn.Linear(6, 4))
    bank = ht.Bank.create(tmp_path / "bank", model=trunk, tail=tail, preprocessing=PIXELS)
    for name, classes in (("warm", WARM), ("cold", COLD)):
        bank.learn(name, pictures(classes, 24), epochs=1, method="head")
    record = TaskRecord.from_file(*bank._contents.store.load(bank._contents.ref("cold").file))
    kept, _ = record.to_file()
    assert kept["moments.means"].dtype == kept["hidden.means"].dtype == torch.float32
    again = ht.Bank.open(tmp_path / "bank", model=trunk, tail=tail)
    found = again.predict(pictures(COLD, 8, seed=4)[0])
    assert isinstance(found, list)
    assert sum(each.nearest is not None and each.nearest[0] == "cold" for each in found) >= 15


def test_records_in_memory_are_limited_and_answers_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bank = two_tasks(tmp_path / "bank", method="head", epochs=1)
    images = pictures(COLD, 4, seed=4)[0]
    before = bank.predict(images)
    monkeypatch.setattr("hypertail.bank.contents.HELD", 1)
    again = ht.Bank.open(tmp_path / "bank", model=resnet())
    assert again.predict(images) == before
    assert again.certify().passed
    assert len(again._contents._records) == 1
