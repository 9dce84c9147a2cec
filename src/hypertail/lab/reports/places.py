"""Where runs were made: the device in a word or two, and all that the last digits of a training depend on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hypertail.lab.records.runfile import RunFile

CPU = "CPU"
ON = "on"
"""Heading of the column that names the devices."""


def device_of(run: RunFile) -> str:
    """The name of the GPU, or `CPU`."""
    return str(run.hardware.get("gpu") or CPU).removeprefix("NVIDIA ")


def devices_of(runs: Iterable[RunFile]) -> str:
    """The devices of some runs, each once: `CPU, H200`."""
    return ", ".join(sorted({device_of(run) for run in runs}))


def column_of_devices(rows: Sequence[Sequence[RunFile]]) -> tuple[str, ...]:
    """The devices of each row's runs; nothing where all runs were made on the same, so that times can be compared."""
    several = len({device_of(run) for runs in rows for run in runs}) > 1
    return tuple(map(devices_of, rows)) if several else ()


def place_of(run: RunFile) -> tuple[str, str, str]:
    """Device, processor that computed, and version of torch: in another place training ends with other bits."""
    hardware = run.hardware
    processor = hardware.get("gpu") or hardware.get("cpu")
    return str(hardware.get("device")), str(processor), run.versions.get("torch", "unknown")
