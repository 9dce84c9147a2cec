"""Nothing that a user calls moves the random state of their own program.

That of Python is looked at in a process of its own: the checks of shapes that tests run under draw from it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hypertail.bank import Bank
from hypertail.training import train_trunk
from support.banks import PIXELS, WARM, new_bank, pictures, resnet, two_tasks
from support.tiny import CONTINUAL, Name, build, tiny_stream, train


def _state() -> tuple[bytes, str]:
    drawn: Any = np.random.get_state()
    return torch.get_rng_state().numpy().tobytes(), f"{drawn[1].tobytes()!r} {drawn[2:]}"


@contextmanager
def untouched(what: str) -> Iterator[None]:
    before = _state()
    yield
    for name, old, new in zip(("torch", "numpy"), before, _state(), strict=True):
        assert old == new, f"{what} moved the random state of {name}"


@pytest.mark.parametrize("method", ["head", "adapter", "hypernet", "separate", "auto"])
def test_a_bank_learns_and_answers_beside_seeded_work(method: str, tmp_path: Path) -> None:
    model, options = resnet(), {"epochs": 1, "views": 2, "hold_out": 0.25}
    with untouched("create"):
        bank = new_bank(tmp_path / "bank", model)
    with untouched("learn"):
        bank.learn("warm", pictures(WARM, 8), method=method, augment="crop-flip", **options)  # type: ignore[arg-type]
    with untouched("extend"):
        bank.extend("warm", pictures(("light",), 8))
    with untouched("open"):
        bank = Bank.open(tmp_path / "bank", model=model)
    images, _ = pictures(WARM, 2)
    with untouched("predict"):
        bank.predict(images)
        bank.predict(images, "warm")
        list(bank.probabilities(images))
    with untouched("certify"):
        bank.certify({"warm": pictures(WARM, 2)})
    with untouched("export"):
        bank.export("warm", tmp_path / "warm.pt2")
        bank.export("warm", tmp_path / "warm.safetensors")


def test_a_shared_hypernetwork_is_read_and_moved_beside_seeded_work(tmp_path: Path) -> None:
    two_tasks(tmp_path / "bank", method="hypernet", epochs=1)
    bank = Bank.open(tmp_path / "bank", model=resnet())
    with untouched("predict"):
        bank.predict(pictures(WARM, 2)[0])
    with untouched("consolidate"):
        bank.consolidate(budget=1.0, steps=2)


def test_a_bank_whose_first_folder_decides_its_model(tmp_path: Path) -> None:
    with untouched("create and learn"):
        Bank.create(tmp_path / "slim").learn("warm", pictures(WARM, 4), epochs=1)
    with untouched("open and predict"):
        Bank.open(tmp_path / "slim").predict(pictures(WARM, 1)[0])
    with untouched("the choice of a cut"):
        chosen = Bank.create(tmp_path / "auto", model=resnet(), cut="auto", preprocessing=PIXELS)
        chosen.learn("warm", pictures(WARM, 8), epochs=1)


@pytest.mark.parametrize("name", [*CONTINUAL, "joint"])
def test_a_run_beside_seeded_work(name: Name) -> None:
    strategy, stream = build(name), tiny_stream()
    with untouched("the run"):
        train(strategy, stream, epochs=1)


PLAIN = """
import random, sys
import numpy as np
sys.path[:0] = sys.argv[2:]
import hypertail as ht
from support.tiny import build, tiny_stream, train
images = np.random.default_rng(0).integers(0, 255, (8, 8, 8, 3), dtype=np.uint8)
state = random.getstate()
bank = ht.Bank.create(sys.argv[1])
bank.learn("a", (images, ["x", "y"] * 4), epochs=1)
bank.predict(images)
bank.certify()
bank.export("a", sys.argv[1] + ".pt2")
train(build("lr"), tiny_stream(), epochs=1)
assert random.getstate() == state
"""


def test_the_state_of_python_itself(tmp_path: Path) -> None:
    tests = Path(__file__).parent
    ran = subprocess.run(
        [sys.executable, "-c", PLAIN, str(tmp_path / "bank"), str(tests), str(tests.parent / "src")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def test_a_trunk_beside_seeded_work() -> None:
    with untouched("train_trunk"):
        train_trunk(tiny_stream(1)[0], epochs=1)
