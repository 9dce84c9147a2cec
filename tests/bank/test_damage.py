"""A task whose file is damaged: what is left of the bank goes on, and the task can be taken out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import hypertail as ht
from hypertail.bank.certificate.compare import Comparison
from hypertail.bank.contents import Contents
from hypertail.bank.store import Store
from hypertail.errors import BudgetError, CheckpointError, ConfigError
from support.banks import COLD, PIXELS, WARM, answers, new_bank, pictures, resnet, two_tasks
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


def test_test_images_of_a_damaged_task_do_not_end_the_certificate(damaged: ht.Bank) -> None:
    images = {"warm": pictures(WARM, 4), "cold": pictures(COLD, 4)}
    checks = damaged.certify(images).checks
    assert [(check.standing, check.accuracy is None) for check in checks] == [("damaged", True), ("identical", False)]
    with refused(ConfigError, problem="wram", hint="warm"):
        damaged.certify({"wram": images["warm"]})


def test_a_hypernetwork_does_not_move_while_one_of_its_tasks_is_damaged(tmp_path: Path) -> None:
    bank = two_tasks(tmp_path / "bank", method="hypernet")
    spoil(bank, "warm")
    bank = ht.Bank.open(tmp_path / "bank", model=resnet())
    more = pictures(("red", "light"), 12)
    with refused(ConfigError, problem="hypernetwork", found="warm", hint="forget"):
        bank.learn("more", more, epochs=1, method="hypernet", options={"sealed": False}, budget=1.0)
    with refused(ConfigError, problem="hypernetwork", found="warm", hint="forget"):
        bank.consolidate(budget=1.0, steps=2)
    bank.learn("more", more, epochs=1, method="hypernet")


def test_deep_images_of_no_task_told_are_answered_beside_a_damaged_one(damaged: ht.Bank) -> None:
    image = Image.fromarray(np.full((12, 12), 900, dtype=np.uint16))
    with pytest.warns(RuntimeWarning, match="warm"):
        assert damaged.predict([image])[0].nearest[0] == "cold"


def test_what_cannot_be_read_just_now_is_not_taken_for_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_tasks(tmp_path / "bank")
    bank = ht.Bank.open(tmp_path / "bank", model=resnet())

    def busy(place: Path) -> bytes:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", busy)
        with refused(CheckpointError, found="Too many open files", hint="Try again"):
            bank.predict(pictures(WARM, 1)[0])
    assert set(bank._contents.server.inference.tasks) == {"warm", "cold"}


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
    with refused(BudgetError, found="by this change", hint="as it was"):
        bank.learn("again", pictures(WARM, 12, seed=5), epochs=6, method="hypernet", options=loud)


def test_answers_that_a_change_changes_are_counted_between_before_and_after(tmp_path: Path) -> None:
    bank = two_tasks(tmp_path / "bank", method="hypernet", options={"shared_rate": 1e-2})
    loud = {"sealed": False, "shared_rate": 0.3}
    bank.learn("more", pictures(("red", "light"), 12), epochs=6, method="hypernet", options=loud, budget=1.0)
    contents = bank._contents
    now, record = Comparison(contents.server, bank.backbone, 0.0), contents.record("warm")
    assert now.check("warm", record, files_identical=False).answers_changed > 0
    assert now.changed_since(contents.server, "warm", record) == 0
    bank.rollback(2)
    assert now.changed_since(bank._contents.server, "warm", record) > 0


def test_the_same_images_under_another_name_warn_the_caller(tmp_path: Path) -> None:
    bank = new_bank(tmp_path / "bank")
    bank.learn("warm", pictures(WARM, 8), method="head", epochs=1)
    bank.learn("cold", pictures(COLD, 8), method="head", epochs=1)
    with pytest.warns(UserWarning, match="the same images as 'warm'") as warned:
        learned = bank.learn("again", pictures(WARM, 8), method="head", epochs=1)
    assert warned[0].filename == __file__
    assert any("coin toss" in notice for notice in learned.notices)


# --- shared files -----------------------------------------------------------------------------------------------


def spoil_shared(bank: ht.Bank, name: str) -> None:
    """Flip a bit in the middle of a shared file."""
    place = bank.path / bank._contents.manifest.shared[name].name
    content = bytearray(place.read_bytes())
    content[len(content) // 2] ^= 1
    place.write_bytes(content)


@pytest.fixture
def mixed(tmp_path: Path) -> ht.Bank:
    """A bank of `warm` by the hypernetwork and `cold` by a head."""
    bank = new_bank(tmp_path / "bank")
    bank.learn("warm", pictures(WARM, 12), epochs=2, method="hypernet")
    bank.learn("cold", pictures(COLD, 12), epochs=2, method="head")
    return bank


def test_a_damaged_hypernetwork_stops_only_tasks_that_need_it(mixed: ht.Bank, tmp_path: Path) -> None:
    before = answers(mixed, "cold")
    spoil_shared(mixed, "hypernet")
    bank = ht.Bank.open(mixed.path, model=resnet())
    assert {name: task.damaged for name, task in bank.tasks.items()} == {"warm": True, "cold": False}
    images = pictures(COLD, 2)[0]
    with pytest.warns(RuntimeWarning, match=r"is inferred: warm\. .*hypernet"):
        told = bank.predict(images, "cold")
    assert isinstance(told, list)
    assert torch.equal(answers(bank, "cold"), before)
    with refused(CheckpointError, problem="hypernet", found="other bytes"):
        bank.predict(images, "warm")
    assert [check.standing for check in bank.certify().checks] == ["damaged", "identical"]
    bank.export("cold", tmp_path / "cold.safetensors")
    bank.extend("cold", pictures(COLD, 8, seed=3))
    learned = bank.learn("more", pictures(("red", "light"), 8), epochs=1, method="head")
    assert learned.certificate is not None
    assert [check.standing for check in learned.certificate.checks] == ["damaged", "identical"]
    with pytest.warns(RuntimeWarning, match="tries no 'hypernet'"):
        bank.learn("auto", pictures(("green", "light"), 12), epochs=1, method="auto")
    with refused(CheckpointError, problem="hypernet"):
        bank.learn("again", pictures(("dark", "light"), 8), epochs=1, method="hypernet")
    (problem,) = bank.verify().problems
    assert problem.concerns == ("warm",)
    bank.forget("warm")
    assert bank.certify().passed


def test_a_task_without_its_hypernetwork_is_listed_and_forgotten_without_a_model(mixed: ht.Bank) -> None:
    spoil_shared(mixed, "hypernet")
    bank = ht.Bank(Contents(Store.open(mixed.path), "cpu"))
    assert bank.tasks["warm"].damaged
    assert [task.name for task in bank.summary().tasks] == ["cold"]
    bank.forget("warm")
    assert list(bank.tasks) == ["cold"]


def test_a_certificate_reads_shared_files_anew(mixed: ht.Bank) -> None:
    assert mixed.certify().passed
    spoil_shared(mixed, "hypernet")
    certificate = mixed.certify()
    assert not certificate.passed
    assert [check.standing for check in certificate.checks] == ["damaged", "identical"]


def test_a_certificate_reads_the_file_of_a_kept_model_anew(tmp_path: Path) -> None:
    bank = ht.Bank.create(tmp_path / "bank", preprocessing=PIXELS)
    bank.learn("warm", pictures(WARM, 8), epochs=1, method="head")
    assert bank.certify().passed
    spoil_shared(bank, "backbone")
    certificate = bank.certify()
    assert not certificate.passed
    assert not certificate.backbone_identical
    assert [check.standing for check in certificate.checks] == ["damaged"]
    assert "its file is damaged" in certificate.page()


def test_a_certificate_sees_a_model_that_changed_in_memory(mixed: ht.Bank) -> None:
    assert mixed.certify().backbone_identical
    with torch.no_grad():
        next(mixed.backbone.trunk.parameters()).add_(1.0)
    certificate = mixed.certify()
    assert not certificate.backbone_identical
    assert not certificate.passed
