"""What a run records of its surroundings, and the device and threads it may use."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import hypertail
from hypertail import environment
from hypertail.environment import (
    FREE_MEMORY,
    choose_device,
    free_memory,
    hardware,
    left_of_the_container,
    own_version,
    total_memory,
    use_threads,
    versions,
)
from hypertail.errors import ConfigError
from hypertail.lab.experiments.place import Place, free_bytes


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
    monkeypatch.setattr(environment, "left_of_the_container", lambda: None)
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


def group_of(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")


def test_the_limit_of_a_container_is_heeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In version 2 of control groups, the nearest limit of the process and of the groups around it counts."""
    root, own = tmp_path / "cgroup", tmp_path / "own"
    own.write_text("0::/a.slice/b.scope\n")
    assert left_of_the_container(root, own) is None
    stat = "anon 5\ninactive_file 30\nactive_file 7"
    group_of(root / "a.slice", {"memory.max": "1000", "memory.current": "400", "memory.stat": stat})
    group_of(root / "a.slice" / "b.scope", {"memory.max": "max", "memory.current": "300", "memory.stat": stat})
    assert left_of_the_container(root, own) == 630
    group_of(root / "a.slice" / "b.scope", {"memory.max": "200"})
    assert left_of_the_container(root, own) == 0
    own.write_text("0::/\n")  # as within a container
    group_of(root, {"memory.max": "900", "memory.current": "100", "memory.stat": "anon 5"})
    assert left_of_the_container(root, own) == 800
    assert left_of_the_container(root, tmp_path / "none") is None
    monkeypatch.setattr(environment, "left_of_the_container", lambda: 123)
    assert free_memory() == free_bytes(torch.device("cpu")) == 123


def test_the_limit_of_a_container_of_version_1(tmp_path: Path) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "own"
    own.write_text("4:memory:/docker/0123\n1:cpu:/docker/0123\n0::/\n")
    files = {"memory.limit_in_bytes": "500", "memory.usage_in_bytes": "90", "memory.stat": "total_inactive_file 40"}
    group_of(root / "memory", files)
    assert left_of_the_container(root, own) == 450
    group_of(root / "memory" / "docker" / "0123", files | {"memory.limit_in_bytes": "100"})
    assert left_of_the_container(root, own) == 50


def test_processes_share_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hypertail.lab.experiments.place.free_memory", lambda: 1200)
    one, four = Place(), Place(jobs=4)
    assert (one.cache_room(), four.cache_room()) == (300, 75)
    assert (one.shared_features().limit_bytes, four.shared_features().limit_bytes) == (400, 100)
    assert Place(cache_bytes=7, jobs=4).cache_room() == 7  # as its user says
