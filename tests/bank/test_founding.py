"""The first folder decides the model of a bank by what its task learns from, and by nothing that is held out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import hypertail as ht
from hypertail.bank.images.task_images import TaskImages
from hypertail.bank.learning.task import Material
from hypertail.errors import ConfigError
from hypertail.nets.resnet import slim_resnet18
from support.banks import WARM, new_bank, pictures
from support.errors import refused

Met = list[tuple[TaskImages, TaskImages]]


@pytest.fixture
def met(monkeypatch: pytest.MonkeyPatch) -> Met:
    """Images that were learned from and held out, each time that a task was learned."""
    seen: Met = []
    of = Material.of

    def noted(cls: type[Material], name: str, backbone: Any, train: Any, held: Any, *rest: Any) -> Material:
        seen.append((train, held))
        return of(name, backbone, train, held, *rest)

    monkeypatch.setattr(Material, "of", classmethod(noted))
    return seen


@pytest.mark.parametrize("validation", [False, True])
def test_a_model_that_the_first_folder_trains_has_seen_nothing_that_is_held_out(
    validation: bool, tmp_path: Path, met: Met, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else temperature, threshold and held-out accuracy would be those of training images."""
    trained_on: list[TaskImages] = []

    def quick(images: TaskImages, *rest: object) -> torch.nn.Module:
        trained_on.append(images)
        return slim_resnet18(classes=len(images.classes))

    monkeypatch.setattr("hypertail.bank.learning.found.trained_slim", quick)
    given = pictures(WARM, 4, seed=1) if validation else None
    bank = ht.Bank.create(tmp_path / "bank")
    bank.learn("warm", pictures(WARM, 8), validation=given, epochs=1, method="head", hold_out=0.25)
    ((train, held),) = met
    (seen,) = trained_on
    assert torch.equal(seen.pixels(range(len(seen))), train.pixels(range(len(train))))
    assert (len(train), len(held)) == ((24, 12) if validation else (18, 6))


def test_a_cut_is_chosen_by_images_that_are_learned_from(
    tmp_path: Path, met: Met, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hypertail.bank.learning.cut.STEPS", 2)
    bank = new_bank(tmp_path / "bank", cut="auto")
    bank.learn("warm", pictures(WARM, 8), epochs=1, method="head", hold_out=0.25)
    assert [len(train) + len(held) for train, held in met] == [18, 18, 18, 24]


def test_what_a_source_cannot_take_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with refused(ConfigError, problem="preprocessing", required="transformers:", found="64 pixels", hint="model="):
        ht.Bank.create(tmp_path / "bank", trunk="transformers:some/model", preprocessing=ht.Preprocessing(size=64))
    with refused(ConfigError, problem="cut of slim", required="block4", found="layer4"):
        ht.Bank.create(tmp_path / "bank", cut="layer4")
    assert not (tmp_path / "bank").exists()
    assert ht.Bank.create(tmp_path / "bank", cut="block3").origin["cut"] == "block3"
