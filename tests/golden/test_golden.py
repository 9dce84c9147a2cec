"""A fixed set of short runs ends as it always has: the bits of accuracies and weights, where the machine is the same.

The stored results are in `runs.json`. A change that is meant to change them stores them anew, in a commit of its own
that says so, with the accuracies before and after:

    HYPERTAIL_GOLDEN=store python -m pytest tests/golden -n 0

The runs on real images need a data root: `HYPERTAIL_GOLDEN_DATA=/path/to/root`. Without one they are left out.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hypertail.lab.experiments.config import RunConfig, expand
from hypertail.lab.experiments.directories import CHECKPOINT
from hypertail.lab.experiments.listener import Listener
from hypertail.lab.experiments.place import DataPlace, Place
from hypertail.lab.experiments.run import execute
from hypertail.storage.checkpoint import load_checkpoint

STORED = Path(__file__).with_name("runs.json")
STORING = os.environ.get("HYPERTAIL_GOLDEN") == "store"
DATA = os.environ.get("HYPERTAIL_GOLDEN_DATA")
CLOSE = 0.12
"""Accuracies of another machine, whose sums differ in the last digits, may differ by so much on average: an image of
the test set of a task counts for 0.014."""

SHORT = RunConfig("digits", "naive", epochs=1, experiences=3, images_per_class=40, batch_size=16)
DIGITS = (
    *("naive:tuned", "ewc:tuned", "joint:tuned", "lr-2:tuned", "lr-4:tuned", "separate-2:tuned", "separate-4:tuned"),
    *("hn-f:tuned", "hn-2:tuned", "hn-3:tuned", "hn-4:tuned"),
    *("naive:printed", "lr-2:printed", "lr-0:printed", "separate-2:printed", "hn-f:printed", "hn-2:printed"),
    *("hn-4:printed", "hn-f:released", "hn-2:released", "hn-4:released", "lr-2:released"),
    *("hn-3:tuned:pretrained", "hn-2:tuned:pretrained", "separate-3:tuned:pretrained"),
    *("adapter-3:tuned", "head-4:tuned", "lda-4:tuned", "lwf-3:tuned"),
    *("hn-2:tuned:resumed", "lr-2:tuned:resumed", "hn-4:printed:resumed", "ewc:tuned:resumed", "hn-2:tuned:mixed"),
)
IMAGES = ("naive:tuned", "separate-3:tuned", "lr-4:tuned", "hn-3:tuned", "hn-2:printed", "hn-4:tuned")

pytestmark = pytest.mark.slow


def machine() -> dict[str, str]:
    """What decides the last digits."""
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), processor)
    return {
        "processor": processor,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }


class _KilledError(BaseException):
    """Stands for a process that was killed."""


class _Killer(Listener):
    """Kills a run in its third experience."""

    def progress(self, done: int, total: int, text: str) -> None:
        if text.startswith("experience 3"):
            raise _KilledError


def result_of(base: RunConfig, name: str, out: Path, data: DataPlace) -> dict[str, Any]:
    """What the run `strategy-depth:preset[:resumed|:mixed|:pretrained]` ends with; tails are fresh unless told."""
    strategy, chosen, *kind = name.split(":")
    [config] = expand([strategy], ["2"], [0], replace(base, preset=chosen))
    if config.options.get("trunk_epochs"):
        config = config.with_options(trunk_epochs=2)
    if config.options.get("tail_start") and kind != ["pretrained"]:
        config = config.with_options(tail_start="fresh")
    place = Place(data, speed="mixed" if kind == ["mixed"] else "full")
    directory = out / "run"
    if kind == ["resumed"]:
        with pytest.raises(_KilledError):
            execute(config, directory, place, listener=_Killer())
    run = execute(config, directory, place, existing="reuse")
    tensors, _ = load_checkpoint(directory / CHECKPOINT)
    accuracy = [list(row) for row in run.accuracy]
    return {"accuracy": accuracy, "weights": digest(tensors)}


def digest(tensors: dict[str, torch.Tensor]) -> str:
    """Of all numbers, whatever the tensors are called and in which order they come."""
    parts = sorted(
        hashlib.blake2b(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes(), digest_size=16).digest()
        for tensor in tensors.values()
        if tensor.is_floating_point() and tensor.numel()
    )
    return hashlib.blake2b(b"".join(parts), digest_size=16).hexdigest()


def check(key: str, result: dict[str, Any]) -> None:
    stored = json.loads(STORED.read_text(encoding="utf-8")) if STORED.is_file() else {"runs": {}}
    if STORING:
        runs = stored["runs"] | {key: result}
        content = {"machine": machine(), "runs": dict(sorted(runs.items()))}
        lines = json.dumps(content, indent=1).replace("\n    ", " ").replace("\n   ]", "]")
        STORED.write_text(lines + "\n", encoding="utf-8")
        return
    expected = stored["runs"][key]
    if stored["machine"] == machine():
        assert result == expected
        return
    found, known = ([value for row in rows["accuracy"] for value in row] for rows in (result, expected))
    assert [value is None for value in found] == [value is None for value in known]
    differences = [abs(a - b) for a, b in zip(found, known, strict=True) if a is not None and b is not None]
    assert sum(differences) / len(differences) <= CLOSE


@pytest.mark.parametrize("name", DIGITS)
def test_digits_end_as_they_always_have(name: str, tmp_path: Path) -> None:
    check(f"digits {name}", result_of(SHORT, name, tmp_path, DataPlace()))


@pytest.mark.skipif(DATA is None, reason="no HYPERTAIL_GOLDEN_DATA")
@pytest.mark.parametrize("name", IMAGES)
def test_images_end_as_they_always_have(name: str, tmp_path: Path) -> None:
    base = replace(SHORT, stream="split-cifar100", images_per_class=20)
    check(f"split-cifar100 {name}", result_of(base, name, tmp_path, DataPlace(Path(str(DATA)))))
