"""Files of every format that was released, or is about to be, are read (strategies' states: tests/strategies)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from hypertail.bank import Bank
from hypertail.lab.experiments.begun import read_begun
from hypertail.lab.records.runfile import RunFile
from hypertail.storage.checkpoint import load_checkpoint
from support.asserts import assert_same_tensors
from support.banks import answers, pictures, resnet

FORMATS = Path(__file__).parents[1] / "formats"


def test_checkpoint_2() -> None:
    tensors, facts = load_checkpoint(FORMATS / "checkpoint-2.safetensors")
    assert_same_tensors(tensors, {"x": torch.arange(6.0).view(2, 3), "n": torch.tensor(3)})
    assert facts == {"learned": 2, "words": ["a", None]}


@pytest.mark.parametrize("version", [1, 2])
def test_run_files(version: int) -> None:
    run = RunFile.read(FORMATS / f"run-{version}" / "run.json")
    assert run.metrics["aca"] is not None
    assert len(run.tasks) == len(run.accuracy)


def test_options_of_a_run() -> None:
    begun = read_begun(FORMATS / "run-2")
    assert (begun.config.stream, begun.config.strategy, begun.config.images_per_class) == ("digits", "naive", 5)
    assert begun.place is not None
    assert str(begun.place.checkpoint_every) == "5min"


def test_bank_1(tmp_path: Path) -> None:
    """It answers as it did, to the rounding of another processor, and can be learned on."""
    shutil.copytree(FORMATS / "bank-1", tmp_path / "bank")
    bank = Bank.open(tmp_path / "bank", model=resnet())
    assert bank.verify().passed
    assert list(bank.tasks) == ["heat", "cold", "dusk"]
    expected, _ = load_checkpoint(FORMATS / "bank-1-answers.safetensors")
    for name in bank.tasks:
        torch.testing.assert_close(answers(bank, name), expected[name], rtol=1e-3, atol=1e-3)
    assert bank.certify(budget=0.01).passed
    bank.learn("more", pictures(("red", "blue"), 6), epochs=1, views=1)
    assert Bank.open(tmp_path / "bank", model=resnet()).generation == bank.generation
