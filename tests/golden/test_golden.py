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


def machine() -> dict[str, Any]:
    """What decides the last digits.

    The processor by more than its name, which whole families share; its caches, by which kernels choose their blocks;
    torch, and what it computes here.
    """
    cpuinfo, caches = Path("/proc/cpuinfo"), Path("/sys/devices/system/cpu/cpu0/cache")
    first = cpuinfo.read_text(encoding="utf-8").split("\n\n")[0] if cpuinfo.is_file() else platform.processor()
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
    return {
        "processor": [facts.get(name, "") for name in ("model name", "cpu family", "model", "stepping")],
        "flags": hashlib.blake2b(facts.get("flags", first).encode(), digest_size=8).hexdigest(),
        "caches": [path.read_text(encoding="utf-8").strip() for path in sorted(caches.glob("index*/size"))],
        "cores": os.cpu_count(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "computes": computed(),
    }


def computed() -> str:
    """Digest of what torch alone makes of convolutions, normalisation and products, forward and backward."""
    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(1, 20, 3, padding=1, bias=False),
        torch.nn.BatchNorm2d(20),
        torch.nn.ReLU(),
        torch.nn.Conv2d(20, 40, 3, stride=2, padding=1, bias=False),
        torch.nn.BatchNorm2d(40),
        torch.nn.Conv2d(40, 160, 1, bias=False),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(160, 10),
    )
    optimizer = torch.optim.Adam(layers.parameters(), lr=1e-2)
    for _ in range(10):
        images, labels = torch.randn(16, 1, 16, 16), torch.randint(10, (16,))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(layers(images), labels).backward()
        optimizer.step()
    return digest(dict(layers.named_parameters()))


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
        hashlib.blake2b(
            tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes(), digest_size=16
        ).digest()
        for tensor in tensors.values()
        if tensor.is_floating_point() and tensor.numel()
    )
    return hashlib.blake2b(b"".join(parts), digest_size=16).hexdigest()


def check(key: str, result: dict[str, Any]) -> None:
    stored = json.loads(STORED.read_text(encoding="utf-8")) if STORED.is_file() else {"machines": {}, "runs": {}}
    here = machine()
    name = hashlib.blake2b(json.dumps(here, sort_keys=True).encode(), digest_size=4).hexdigest()
    if STORING:
        runs = stored["runs"] | {key: {"machine": name, **result}}
        used = {run["machine"] for run in runs.values()}
        machines = {known: about for known, about in (stored["machines"] | {name: here}).items() if known in used}
        lines = json.dumps({"machines": machines, "runs": dict(sorted(runs.items()))}, indent=1)
        STORED.write_text(lines.replace("\n    ", " ").replace("\n   ]", "]") + "\n", encoding="utf-8")
        return
    expected = dict(stored["runs"][key])
    if expected.pop("machine") == name:
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
