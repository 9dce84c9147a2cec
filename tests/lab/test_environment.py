"""What a run records of its surroundings, and the device and threads it may use."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import torch

import hypertail
from hypertail.errors import ConfigError
from hypertail.lab.environment import choose_device, hardware, own_version, use_threads, versions


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def threads() -> Iterator[int]:
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


@pytest.mark.usefixtures("without_gpu")
def test_auto_is_the_cpu_without_a_gpu() -> None:
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")


@pytest.mark.usefixtures("two_gpus")
def test_gpus_by_name() -> None:
    assert choose_device("auto") == choose_device("cuda") == choose_device("gpu") == torch.device("cuda")
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(
        ConfigError, match=r"device 'cuda:2': required cuda:0 to cuda:1; found cuda:2. Use --device cuda."
    ):
        choose_device("cuda:2")


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "gpu"])
def test_a_gpu_that_is_not_there(name: str) -> None:
    with pytest.raises(ConfigError, match=f"device '{name}': required a CUDA GPU .* Use --device cpu."):
        choose_device(name)


@pytest.mark.parametrize(("name", "near"), [("cud", "cuda"), ("cpus", "cpu"), ("atuo", "auto"), ("cuda:", "cuda")])
def test_unknown_devices_name_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown device '{name}': required one of auto, .*Did you mean '{near}"):
        choose_device(name)


@pytest.mark.parametrize("name", ["meta", "mps", "CPU", ""])
def test_devices_that_cannot_train_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown device '{name}'"):
        choose_device(name)


def test_threads(threads: int) -> None:
    use_threads(None)
    assert torch.get_num_threads() == threads
    use_threads(threads + 1)
    assert torch.get_num_threads() == threads + 1
    with pytest.raises(ConfigError, match=r"CPU threads: required 1 or more; found 0. Leave --threads out, or give 1."):
        use_threads(0)


def test_versions_and_hardware_are_plain_facts() -> None:
    found = versions()
    assert found["torch"].startswith(torch.__version__.partition("+")[0])
    assert found["hypertail"] == own_version() == hypertail.__version__
    assert {"python", "numpy", "datasets", "scikit-learn", "safetensors"} <= set(found)
    facts = hardware(torch.device("cpu"))
    assert facts["device"] == "cpu"
    assert facts["cpu"]
    assert facts["threads"] == torch.get_num_threads()
    assert facts["memory_bytes"] > 2**28
    assert json.loads(json.dumps(facts)) == facts
