"""What `learn` is told: what it refuses before anything is computed, and what it does where nothing is held out."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest
import torch

from hypertail.bank.task_info import share_right
from hypertail.errors import ConfigError
from support.banks import COLD, WARM, answers, new_bank, pictures, two_tasks
from support.errors import refused


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"augment": "Crop-Flip"}, "crop-flip"),
        ({"views": 0}, "views"),
        ({"hold_out": 3.0}, "hold_out"),
        ({"budget": 7.0}, "budget"),
        ({"keep_probes": -1}, "keep_probes"),
        ({"on_bad_image": "ignore"}, "bad image"),
        ({"method": "adaptor"}, "adapter"),
        ({"method": "adapter", "options": {"rnk": 4}}, "rank"),
        ({"method": "hypernet", "options": {"hyper": 4}}, "hyper"),
        ({"method": "auto", "options": {"rank": 4}}, "auto"),
        *(({"method": "adapter", "options": {"rank": rank}}, "whole number") for rank in (-1, 2.5, "4", True, None)),
        *(({"method": "adapter", "options": {"rate": rate}}, "above 0") for rate in (0, -1.0, "x", float("nan"))),
        ({"method": "hypernet", "options": {"sealed": 1}}, "True or False"),
        ({"epochs": 1.5}, "whole"),
        ({"batch_size": 8.0}, "whole"),
    ],
)
def test_what_cannot_be_is_refused_at_once(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    bank = new_bank(tmp_path / "bank")
    with pytest.raises(ConfigError, match=words):
        bank.learn("warm", pictures(WARM, 4), **{"epochs": 1, **options})
    assert not bank.tasks


def test_auto_has_to_see_held_out_images(tmp_path: Path) -> None:
    bank = new_bank(tmp_path / "bank")
    with refused(ConfigError, problem="auto", required="held-out", hint="validation"):
        bank.learn("warm", pictures(WARM, 4), epochs=1, method="auto", hold_out=0)
    bank.learn("warm", pictures(WARM, 4), epochs=1, method="auto", hold_out=0, validation=pictures(WARM, 4, seed=2))
    assert bank.tasks["warm"].held_out_accuracy is not None


def test_what_extend_reports_was_measured_after_it(tmp_path: Path) -> None:
    bank = two_tasks(tmp_path / "bank")
    assert bank.tasks["warm"].held_out_accuracy is not None
    assert bank.extend("warm", pictures(("pale",), 12, seed=3)).held_out_accuracy is None
    assert bank.tasks["warm"].held_out_accuracy is None
    classes = bank.tasks["cold"].classes
    data = pictures(("red",), 20, seed=4)[0], [classes[0]] * 10 + [classes[1]] * 10
    learned = bank.extend("cold", data)
    assert learned.held_out_accuracy is not None
    assert learned.held_out_accuracy < 1
    assert learned.held_out_images == bank.tasks["cold"].held_out_images == bank.log()[-1].facts["held_out_images"] == 2


def test_an_accuracy_of_some_classes_is_not_that_of_the_task(tmp_path: Path) -> None:
    bank = two_tasks(tmp_path / "bank")
    assert bank.tasks["warm"].held_out_images == 12
    assert " % of 12 held-out images right" in str(bank.summary())
    learned = bank.extend("warm", pictures(("red",), 20, seed=4))
    assert (learned.held_out_accuracy, learned.held_out_images) == (None, 0)
    assert bank.tasks["warm"].held_out_accuracy is None
    assert bank.certify().checks[0].accuracy_then is None


def test_an_accuracy_by_validation_images_of_some_classes_is_not_told(tmp_path: Path) -> None:
    bank, some = new_bank(tmp_path / "bank"), pictures(WARM[:2], 4, seed=2)
    learned = bank.learn("warm", pictures(WARM, 6), validation=some, method="head", epochs=1)
    assert (learned.held_out_accuracy, bank.tasks["warm"].held_out_images) == (None, 0)
    assert learned.notices[-1] == "no validation images of dark: accuracy on the others is not told"
    with refused(ConfigError, problem="auto", required="every class", found="dark"):
        bank.learn("again", pictures(WARM, 7), validation=some, method="auto", epochs=1)


def test_new_classes_of_a_task_are_named(tmp_path: Path) -> None:
    bank = two_tasks(tmp_path / "bank", epochs=1)
    assert bank.extend("cold", pictures(("blue",), 4, seed=3)).notices == ()
    images, _ = pictures(("red", "blue"), 2, seed=4)
    learned = bank.extend("cold", (images, ["Blue", "Blue", "green", "green"]))
    assert learned.notices == ("2 new classes: Blue, green; written nearly alike: Blue like blue",)


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_a_bank_learns_where_gradients_are_turned_off(off: Any, tmp_path: Path) -> None:
    bank, other = new_bank(tmp_path / "bank"), new_bank(tmp_path / "other")
    with off():
        bank.learn("warm", pictures(WARM, 4), epochs=1)
        bank.extend("warm", pictures(("blue",), 4, seed=3))
    other.learn("warm", pictures(WARM, 4), epochs=1)
    other.extend("warm", pictures(("blue",), 4, seed=3))
    assert torch.equal(answers(bank, "warm"), answers(other, "warm"))


def test_an_accented_name_is_one_however_it_is_written(tmp_path: Path) -> None:
    bank = new_bank(tmp_path / "bank")
    one, two = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    assert one != two
    bank.learn(two, pictures(WARM, 4), epochs=1, method="head")
    assert list(bank.tasks) == [one]
    with pytest.raises(ConfigError, match="a name that no other task has"):
        bank.learn(two, pictures(COLD, 4), epochs=1, method="head")
    image = pictures(WARM, 1)[0][0]
    assert bank.predict(image, two).task == bank.predict([image], [two])[0].task == one  # type: ignore[union-attr]
    assert bank.certify({two: pictures(WARM, 4)}).checks[0].images == 12
    bank.extend(two, pictures(("blue",), 4))
    assert bank.evaluate(two, pictures(WARM, 4)) >= 0
    bank.export(two, tmp_path / "c.safetensors")
    bank.rename(two, unicodedata.normalize("NFD", "thé"))
    assert list(bank.tasks) == [unicodedata.normalize("NFC", "thé")]
    bank.forget(unicodedata.normalize("NFD", "thé"))
    assert not bank.tasks


@pytest.mark.parametrize(("budget", "steps"), [(5.0, 10), (-1.0, 10), (float("nan"), 10), (0.0, 0)])
def test_consolidation_refuses_what_cannot_be(budget: float, steps: int, tmp_path: Path) -> None:
    bank = new_bank(tmp_path / "bank")
    with pytest.raises(ConfigError, match=r"budget|steps"):
        bank.consolidate(budget=budget, steps=steps)


def test_words_for_an_accuracy() -> None:
    assert share_right(0.72, 25) == "72.0 % of 25 held-out images right"
    assert share_right(1.0, 1, "test image") == "100.0 % of 1 test image right"
    assert share_right(0.5, 0) == "50.0 % of held-out images right"


@pytest.mark.parametrize("budget", [-0.1, 1.5])
def test_a_certificate_refuses_a_budget_that_cannot_be(budget: float, tmp_path: Path) -> None:
    with refused(ConfigError, problem="budget", required="0 or more, up to 1"):
        new_bank(tmp_path / "bank").certify(budget=budget)
