"""What a bank says of itself after rollbacks, interrupted makings, and models in two parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import hypertail as ht
from hypertail.bank import writing
from hypertail.bank.backbone import Backbone
from hypertail.bank.founding import SLIM, Founding, described
from hypertail.bank.sources import given_backbone, slim_backbone
from hypertail.bank.store import Store
from hypertail.errors import CheckpointError, ConfigError
from hypertail.nets import slim_resnet18
from support.banks import COLD, PIXELS, WARM, answers, new_bank, pictures, two_tasks
from support.errors import refused


def slim(seed: int) -> Backbone:
    """As a first folder would train it, of random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return slim_backbone(slim_resnet18(classes=2), "block4", ht.Preprocessing(32))


@pytest.fixture
def founded(monkeypatch: pytest.MonkeyPatch) -> list[Backbone]:
    """The backbones that first folders found, in place of training them."""
    made: list[Backbone] = []

    def found(*_: object, **__: object) -> tuple[Backbone, dict[str, Any]]:
        made.append(slim(len(made)))
        return made[-1], {}

    monkeypatch.setattr(writing, "found_backbone", found)
    return made


def learn(bank: ht.Bank, name: str, classes: tuple[str, ...] = WARM) -> None:
    bank.learn(name, pictures(classes, 6), method="head", epochs=1, views=1)


def logits(bank: ht.Bank, name: str) -> Tensor:
    size = bank.backbone.preprocessing.size
    pixels = torch.randint(0, 256, (3, 3, size, size), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return bank._contents.server.logits(name, pixels)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_another_first_folder_is_answered_by_its_own_model(
    elsewhere: bool, founded: list[Backbone], tmp_path: Path
) -> None:
    bank = ht.Bank.create(tmp_path / "bank")
    learn(bank, "warm")
    assert bank.backbone.digest == founded[0].digest
    other = ht.Bank.open(bank.path) if elsewhere else bank
    other.rollback(0)
    if elsewhere:
        bank.refresh()
    with refused(ConfigError, problem="model of this bank", hint="Learn a task"):
        _ = bank.backbone
    learn(other, "cold", COLD)
    bank.refresh()
    assert bank.backbone.digest == founded[1].digest != founded[0].digest
    learn(bank, "more")
    again = ht.Bank.open(bank.path)
    for name in ("cold", "more"):
        assert torch.equal(logits(bank, name), logits(again, name))
    assert again.certify().passed


@pytest.mark.parametrize("named", [True, False])
def test_forgetting_what_taught_the_model_is_not_called_exact_after_a_rollback(
    named: bool, founded: list[Backbone], tmp_path: Path
) -> None:
    bank = ht.Bank.create(tmp_path / "bank")
    learn(bank, "warm")
    bank.rollback(0)
    learn(bank, "cold", COLD)
    learn(bank, "more")
    if not named:  # as in banks of older versions
        with bank._contents.store.change() as change:
            said = dict(change.manifest.facts["backbone"])
            assert said.pop("founder") == 1
            change.commit("rename", facts={"backbone": said})
    assert bank.forget("more").exact
    forgotten = bank.forget("cold")
    assert not forgotten.exact
    assert "model below" in forgotten.explanation


def test_a_rolled_back_extend_is_as_it_was_learned(tmp_path: Path) -> None:
    bank = two_tasks(tmp_path / "bank", method="head", epochs=2)
    bank.extend("warm", pictures(("light",), 6))
    assert [check.standing for check in bank.certify().checks] == ["identical", "identical"]
    bank.rollback(2)
    assert [check.standing for check in bank.certify().checks] == ["identical", "identical"]
    bank.rollback(3)
    assert [check.standing for check in bank.certify().checks] == ["identical", "identical"]


def test_an_older_file_of_a_task_is_not_what_was_learned(tmp_path: Path) -> None:
    """It is only where a rollback brought it back."""
    bank = new_bank(tmp_path / "bank")
    learn(bank, "warm")
    before = bank._contents.manifest.tasks
    bank.extend("warm", pictures(("light",), 6))
    with bank._contents.store.change() as change:
        change.commit("rename", tasks=before)
    bank.refresh()
    assert [check.standing for check in bank.certify().checks] == ["moved"]


def test_forgetting_also_takes_what_a_damaged_generation_has(tmp_path: Path) -> None:
    bank = two_tasks(tmp_path / "bank", method="head", epochs=1)
    bank.extend("warm", pictures(("light",), 6))
    bank._contents.store.place_of(3).write_text("{}")
    bank = ht.Bank.open(bank.path, model=bank._contents._model)
    assert bank.generation == 2
    files = list((bank.path / "files").glob("task-0-*"))
    assert len(files) == 2
    bank.forget("warm")
    assert bank.generation == 4
    assert not any(file.exists() for file in files)
    assert list(bank.tasks) == ["cold"]


# --- a bank that keeps its model ----------------------------------------------------------------------------------


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a source whose model the bank keeps, without a library."""
    monkeypatch.setattr(Founding, "backbone", lambda self: slim(0))
    monkeypatch.setattr(Founding, "needs_images", False)
    return SLIM


def test_the_model_is_there_from_the_first_generation_on(kept: str, tmp_path: Path) -> None:
    bank = ht.Bank.create(tmp_path / "bank", trunk=kept)
    assert bank.generation == 0
    assert bank.verify().passed
    learn(bank, "warm")
    bank.rollback(0)
    learn(bank, "cold", COLD)
    again = ht.Bank.open(bank.path)
    assert list(again.tasks) == ["cold"]
    assert torch.equal(logits(again, "cold"), logits(bank, "cold"))


def test_a_bank_that_an_older_version_left_without_its_model(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "bank", {"backbone": described(slim(0))})
    with refused(CheckpointError, required="a file of it", found="generation 0", hint=("no task", "make the bank")):
        ht.Bank.open(tmp_path / "bank")
    with store.change() as change:
        change.commit("backbone", shared={"backbone": change.put("backbone", slim(0).tensors(), {})})
    learn(ht.Bank.open(tmp_path / "bank"), "warm")
    # as its rollback to generation 0 left it, and what was learned then
    store.refresh()
    with store.change() as change:
        change.commit("rollback", entry_facts={"to": 0}, shared={})
    with refused(CheckpointError, found="generation 3", hint="hypertail rollback 3"):
        ht.Bank.open(tmp_path / "bank")
    Store.open(tmp_path / "bank").rollback(3)
    bank = ht.Bank.open(tmp_path / "bank")
    assert list(bank.tasks) == ["warm"]
    assert bank.verify().passed


# --- a model in two parts -----------------------------------------------------------------------------------------


def parts() -> tuple[nn.Module, nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        tail = nn.Sequential(nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 9))
    return trunk.eval(), tail.eval()


@pytest.mark.parametrize("cut", ["layer2", "auto"])
def test_a_tail_and_a_cut_are_refused_together(cut: str, tmp_path: Path) -> None:
    trunk, tail = parts()
    with refused(ConfigError, required="tail= or cut=", found=cut):
        ht.Bank.create(tmp_path / "bank", model=trunk, tail=tail, cut=cut, preprocessing=PIXELS)
    assert not (tmp_path / "bank").exists()


@pytest.mark.parametrize("decided", [True, False])
def test_a_bank_that_an_older_version_made_with_a_tail_and_a_cut(decided: bool, tmp_path: Path) -> None:
    trunk, tail = parts()
    if decided:
        said = {"backbone": described(given_backbone(trunk, "1", tail=tail, preprocessing=PIXELS))}
    else:
        said = {"founding": Founding("given", "auto", preprocessing=PIXELS).to_json()}
    Store.create(tmp_path / "bank", said)
    bank = ht.Bank.open(tmp_path / "bank", model=trunk, tail=tail)
    learn(bank, "warm")
    again = ht.Bank.open(tmp_path / "bank", model=trunk, tail=tail)
    assert torch.equal(answers(again, "warm"), answers(bank, "warm"))


def test_a_model_that_is_not_given_again(tmp_path: Path) -> None:
    trunk, tail = parts()
    bank = ht.Bank.create(tmp_path / "bank", model=trunk, tail=tail, preprocessing=PIXELS)
    with refused(ConfigError, problem="model of this bank", found="one part", hint="tail="):
        ht.Bank.open(bank.path, model=trunk)
    with refused(ConfigError, problem="model of this bank", found="none", hint=("model=", "tail=")):
        ht.Bank.open(bank.path)
    new_bank(tmp_path / "other", cut="auto")
    other = ht.Bank.open(tmp_path / "other")
    assert other.origin["cut"] == "auto"
    with refused(ConfigError, problem="model of this bank", found="none", hint=("model=", "tail=")):
        learn(other, "warm")


def test_an_empty_bank_says_that_it_has_no_task(tmp_path: Path) -> None:
    bank = new_bank(tmp_path / "bank")
    for ask in (bank.forget, lambda name: bank.export(name, tmp_path / "x.pt2"), lambda name: bank.rename(name, "y")):
        with refused(ConfigError, problem="unknown task 'x'", found="no task yet", hint="hypertail learn"):
            ask("x")
