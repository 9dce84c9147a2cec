"""What `learn` is told: what it refuses before anything is computed, and what it does where nothing is held out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hypertail.bank.task_info import share_right
from hypertail.errors import ConfigError
from support.banks import WARM, new_bank, pictures, two_tasks
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


def test_words_for_an_accuracy() -> None:
    assert share_right(0.72, 25) == "72.0 % of 25 held-out images right"
    assert share_right(1.0, 1, "test image") == "100.0 % of 1 test image right"
    assert share_right(0.5, 0) == "50.0 % of held-out images right"


@pytest.mark.parametrize("budget", [-0.1, 1.5])
def test_a_certificate_refuses_a_budget_that_cannot_be(budget: float, tmp_path: Path) -> None:
    with refused(ConfigError, problem="budget", required="0 or more, up to 1"):
        new_bank(tmp_path / "bank").certify(budget=budget)
