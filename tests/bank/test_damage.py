"""A task whose file is damaged: what is left of the bank goes on, and the task can be taken out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import hypertail as ht
from hypertail.errors import BudgetError, CheckpointError
from support.banks import COLD, WARM, answers, pictures, resnet, two_tasks
from support.errors import refused


def spoil(bank: ht.Bank, name: str) -> None:
    """Flip a bit in the middle of a task's file."""
    place = bank.path / bank._contents.ref(name).file.name
    content = bytearray(place.read_bytes())
    content[len(content) // 2] ^= 1
    place.write_bytes(content)


@pytest.fixture
def damaged(tmp_path: Path) -> ht.Bank:
    """A bank of `warm` and `cold`, opened anew after `warm` was damaged."""
    spoil(two_tasks(tmp_path / "bank"), "warm")
    return ht.Bank.open(tmp_path / "bank", model=resnet())


def test_the_other_task_answers_and_learning_goes_on(damaged: ht.Bank) -> None:
    before = answers(damaged, "cold")
    learned = damaged.learn("more", pictures(("red", "light"), 12), epochs=2, method="head")
    assert torch.equal(answers(damaged, "cold"), before)
    assert learned.certificate is not None
    assert {check.task: check.standing for check in learned.certificate.checks} == {
        "warm": "damaged",
        "cold": "identical",
    }
    with refused(CheckpointError, hint="verify"):
        answers(damaged, "warm")


def test_the_certificate_and_the_list_of_tasks_name_it(damaged: ht.Bank) -> None:
    certificate = damaged.certify()
    assert not certificate.passed
    assert [(check.task, check.standing, check.passed) for check in certificate.checks] == [
        ("warm", "damaged", False),
        ("cold", "identical", True),
    ]
    assert "1 of 2" in str(certificate)
    assert "cannot be read" in certificate.page()
    tasks = damaged.tasks
    assert tasks["warm"].damaged
    assert tasks["warm"].method == "adapter"
    assert tasks["warm"].images == 36
    assert not tasks["cold"].damaged
    assert [task.name for task in damaged.summary().tasks] == ["cold"]


def test_a_certificate_reads_the_files_anew(tmp_path: Path) -> None:
    bank = two_tasks(tmp_path / "bank")
    assert bank.certify().passed
    spoil(bank, "cold")
    assert [check.standing for check in bank.certify().checks] == ["identical", "damaged"]


def test_it_can_be_forgotten(damaged: ht.Bank) -> None:
    before = answers(damaged, "cold")
    forgotten = damaged.forget("warm")
    assert forgotten.exact
    assert "'cold'" in forgotten.explanation
    assert list(damaged.tasks) == ["cold"]
    assert not list(damaged.path.glob("files/task-0-*"))
    assert torch.equal(answers(damaged, "cold"), before)
    assert damaged.verify().passed


def test_a_damaged_old_generation_hides_no_file_from_forgetting(tmp_path: Path) -> None:
    bank = two_tasks(tmp_path / "bank")
    bank.extend("warm", pictures(("pale",), 12, seed=3))
    generations = sorted((bank.path / "generations").iterdir())
    for place in generations[:-1]:
        place.write_text("damaged")
    bank.forget("warm")
    assert not list(bank.path.glob("files/task-0-*"))
    assert list(bank.path.glob("files/task-1-*"))


def test_a_drift_that_was_allowed_stands_in_the_way_of_nothing(tmp_path: Path) -> None:
    bank = two_tasks(tmp_path / "bank", method="hypernet", options={"shared_rate": 1e-2})
    loud = {"sealed": False, "shared_rate": 0.3}
    more = pictures(("red", "light"), 12)
    moved = bank.learn("more", more, epochs=6, method="hypernet", options=loud, budget=1.0).certificate
    assert moved is not None
    assert any(check.answers_changed for check in moved.checks)
    before = {name: answers(bank, name) for name in bank.tasks}
    learned = bank.learn("other", pictures(COLD, 12, seed=4), epochs=2, method="head")
    assert learned.certificate is not None
    assert not learned.certificate.passed
    for name, logits in before.items():
        assert torch.equal(answers(bank, name), logits)
    with refused(BudgetError, hint="as it was"):
        bank.learn("again", pictures(WARM, 12, seed=5), epochs=6, method="hypernet", options=loud)
