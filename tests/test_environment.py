"""What a run records of its surroundings, and the device and threads it may use."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator

import pytest
import torch

import hypertail
from hypertail import environment
from hypertail.environment import (
    FREE_MEMORY,
    choose_device,
    free_memory,
    hardware,
    own_version,
    total_memory,
    use_threads,
    versions,
)
from hypertail.errors import ConfigError
from hypertail.lab.experiments.place import free_bytes


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


def sysconf_of(system: str) -> Callable[[str], int]:
    def sysconf(name: str) -> int:
        if system == "macOS" and name == "SC_AVPHYS_PAGES":
            raise ValueError("unrecognized configuration name")
        if system == "unknown" and name != "SC_PAGE_SIZE":
            return -1
        return {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1 << 22, "SC_AVPHYS_PAGES": 1 << 20}[name]

    return sysconf


@pytest.mark.parametrize(
    ("system", "total", "free"),
    [("Linux", 1 << 34, 1 << 32), ("macOS", 1 << 34, FREE_MEMORY), ("unknown", None, FREE_MEMORY)],
)
def test_memory_where_a_system_says_less(
    system: str, total: int | None, free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """case 19: macOS refuses the name of free pages, others say -1."""
    monkeypatch.setattr(os, "sysconf", sysconf_of(system))
    monkeypatch.setattr(environment, "_left_of_the_limit", lambda: None)
    assert (total_memory(), free_memory()) == (total, free)
    assert hardware(torch.device("cpu"))["memory_bytes"] == total
    assert free_bytes(torch.device("cpu")) == free


def test_memory_where_there_is_no_sysconf(monkeypatch: pytest.MonkeyPatch) -> None:
    """case 19: Windows."""
    monkeypatch.delattr(os, "sysconf")
    monkeypatch.setitem(sys.modules, "resource", None)
    assert (total_memory(), free_memory()) == (None, FREE_MEMORY)
    assert hardware(torch.device("cpu"))["memory_bytes"] is None
    assert free_bytes(torch.device("cpu")) == FREE_MEMORY


def test_a_limit_of_the_process_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """case 21: caches follow from what `ulimit -v` leaves, not from what the machine has."""
    resource = pytest.importorskip("resource")
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("no /proc here")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1 << 20, 1 << 20))
    assert free_memory() == 0
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY,) * 2)
    assert free_memory() > 2**20
