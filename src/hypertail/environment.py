"""Versions and hardware, recorded with every number."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from hypertail.errors import ConfigError, unknown_name

FREE_MEMORY = 2 << 30
"""Bytes taken to be free where the system does not say (macOS, Windows): little, since caches follow from it."""

_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")

_PACKAGES = ("torch", "numpy", "datasets", "scikit-learn", "safetensors")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a result."""
    found = {"hypertail": own_version(), "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def own_version() -> str:
    """The version of hypertail, installed or not."""
    # The package is loaded if this module is; importing it here would turn the order of the floors round.
    return str(sys.modules["hypertail"].__version__)


def hardware(device: torch.device) -> dict[str, Any]:
    """What the run ran on."""
    facts: dict[str, Any] = {
        "device": device.type,
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_bytes": total_memory(),
        "platform": platform.platform(),
    }
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
        facts["gpu_memory_bytes"] = torch.cuda.get_device_properties(device).total_memory
    return facts


def total_memory() -> int | None:
    """Bytes of main memory; None where the system does not say."""
    return _pages("SC_PHYS_PAGES")


def free_memory() -> int:
    """Bytes of main memory that this process may still take; `FREE_MEMORY` where the system does not say."""
    free = _pages("SC_AVPHYS_PAGES")
    if free is None:
        total = total_memory()
        free = FREE_MEMORY if total is None else min(FREE_MEMORY, total // 4)
    limits = [left for left in (_left_of_the_limit(), left_of_the_container()) if left is not None]
    return min([free, *limits])


def _pages(name: str) -> int | None:
    """A number of pages that the system tells, in bytes; None where it has no such number, or no way to ask."""
    try:
        count = os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf, macOS does not know free pages
        return None
    return count if count > 0 else None


def _left_of_the_limit() -> int | None:
    """What `ulimit -v` leaves this process; None where there is no limit, or it cannot be told."""
    try:
        import resource  # absent on Windows

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit == resource.RLIM_INFINITY:
            return None
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (ImportError, AttributeError, ValueError, OSError):
        return None
    return max(0, limit - taken)


def left_of_the_container(mounted: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int | None:
    """Bytes that the control groups of this process, those of a container, say, leave it; None where there is no limit.

    Args:
        mounted: where the system shows control groups.
        own: the file that names those of this process.
    """
    lefts = []
    with suppress(OSError):  # there are none on other systems
        for line in own.read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds == "":
                root, names = mounted, ("memory.max", "memory.current", "inactive_file")
            elif kinds == "memory":  # version 1
                root, names = mounted / "memory", _VERSION_1
            else:
                continue
            group = root / path.strip("/")
            # within a container only the root may be there, which is that of the container then
            groups = [group, *group.parents]
            lefts += [_left_of_group(place, *names) for place in groups[: groups.index(root) + 1]]
    return min((left for left in lefts if left is not None), default=None)


def _left_of_group(group: Path, limit: str, used: str, cached: str) -> int | None:
    try:
        most, taken = int((group / limit).read_text()), int((group / used).read_text())
        facts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        # files that were read stay in memory for as long as nothing else needs it
        taken -= int(facts.get(cached, 0))
    except (OSError, ValueError):  # not there, or "max"
        return None
    return max(0, most - taken)


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def choose_device(name: str) -> torch.device:
    """`auto` (the GPU if there is one), or a device by name; `gpu` is `cuda`.

    Raises:
        ConfigError: the device does not exist on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|gpu|cuda(:\d+)?", name):
        raise unknown_name("device", name, ("auto", "cpu", "cuda", "cuda:0"))
    device = torch.device("cuda" if name == "gpu" else name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"device '{name}'",
            required="a CUDA GPU and a torch build with CUDA",
            found=f"torch {torch.__version__} without a usable GPU",
            hint="Use --device cpu.",
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device '{name}'",
            required=f"cuda:0 to cuda:{torch.cuda.device_count() - 1}",
            found=name,
            hint="Use --device cuda.",
        )
    return device


def use_threads(count: int | None) -> None:
    """Let torch use `count` CPU threads; None leaves its choice.

    Raises:
        ConfigError: less than one.
    """
    if count is None:
        return
    if count < 1:
        raise ConfigError("CPU threads", required="1 or more", found=str(count), hint="Leave --threads out, or give 1.")
    torch.set_num_threads(count)
