"""The values that the paper prints, typed in table by table (Hemati et al., CoLLAs 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from hypertail.lab.reports.papertable import Number


class Printed(NamedTuple):
    """`mean ± std` as printed, in percent."""

    mean: float
    std: float

    @property
    def number(self) -> Number:
        """The same as a table's cell."""
        return Number(self.mean, self.std)


TABLE1: Mapping[tuple[str, str], tuple[Printed, ...]] = {
    ("lr-2", "clean"): (Printed(93.2, 0.2), Printed(94.3, 0.4), Printed(91.2, 0.4), Printed(92.2, 0.3)),
    ("lr-2", "noisy"): (Printed(93.2, 0.2), Printed(91.2, 0.6), Printed(89.1, 1.3), Printed(91.2, 0.9)),
    ("hn-2", "clean"): (Printed(88.2, 1.4), Printed(77.2, 0.3), Printed(76.6, 0.7), Printed(64.6, 0.3)),
    ("hn-2", "noisy"): (Printed(88.2, 1.4), Printed(76.6, 1.3), Printed(65.0, 2.1), Printed(50.0, 0.8)),
    ("lr-3", "clean"): (Printed(93.1, 0.8), Printed(94.3, 0.1), Printed(89.9, 0.7), Printed(92.3, 0.4)),
    ("lr-3", "noisy"): (Printed(93.1, 0.8), Printed(91.1, 0.9), Printed(88.0, 1.2), Printed(87.4, 0.7)),
    ("hn-3", "clean"): (Printed(81.0, 0.6), Printed(71.4, 0.5), Printed(70.3, 0.4), Printed(71.5, 0.4)),
    ("hn-3", "noisy"): (Printed(81.0, 0.6), Printed(69.1, 1.1), Printed(66.2, 1.3), Printed(68.1, 0.9)),
    ("lr-4", "clean"): (Printed(93.1, 0.4), Printed(91.3, 0.6), Printed(85.1, 0.2), Printed(89.7, 0.5)),
    ("lr-4", "noisy"): (Printed(93.1, 0.4), Printed(86.4, 1.2), Printed(86.0, 0.6), Printed(80.1, 0.9)),
    ("hn-4", "clean"): (Printed(69.1, 0.3), Printed(68.6, 0.2), Printed(73.4, 0.2), Printed(72.1, 0.1)),
    ("hn-4", "noisy"): (Printed(69.1, 0.3), Printed(68.4, 0.4), Printed(73.4, 0.6), Printed(67.5, 0.3)),
}
"""Table 1: (strategy, stream) -> learning accuracy of e_1 to e_4; "Normal" in the paper is `clean` here.

The paper marks the hypernetworks with a star: `ResNet-2*` is `hn-2`, `ResNet-2` is `lr-2`.
"""


class Benchmark(NamedTuple):
    """One row of Table 2 on one stream; the time in minutes."""

    aca: Printed
    forgetting: Printed
    minutes: int


TABLE2: Mapping[str, Mapping[str, Benchmark]] = {
    "split-cifar100": {
        "naive": Benchmark(Printed(33.7, 0.7), Printed(58.9, 2.1), 120),
        "ewc": Benchmark(Printed(29.7, 1.0), Printed(62.2, 0.9), 230),
        "lr-1": Benchmark(Printed(48.1, 1.2), Printed(43.0, 0.8), 165),
        "hn-1": Benchmark(Printed(61.9, 1.7), Printed(8.1, 0.6), 508),
        "lr-2": Benchmark(Printed(51.1, 0.8), Printed(40.3, 1.1), 134),
        "hn-2": Benchmark(Printed(62.8, 1.6), Printed(4.1, 0.5), 388),
        "lr-3": Benchmark(Printed(50.1, 2.2), Printed(42.4, 1.3), 111),
        "hn-3": Benchmark(Printed(58.8, 1.0), Printed(7.4, 0.9), 243),
        "lr-4": Benchmark(Printed(51.4, 1.3), Printed(27.3, 2.4), 89),
        "hn-4": Benchmark(Printed(73.6, 0.9), Printed(3.1, 0.4), 114),
        "hn-f": Benchmark(Printed(64.2, 1.2), Printed(5.5, 1.4), 636),
    },
    "split-tinyimagenet": {
        "naive": Benchmark(Printed(20.5, 1.7), Printed(48.4, 0.9), 371),
        "ewc": Benchmark(Printed(22.4, 1.1), Printed(34.5, 0.5), 431),
        "lr-1": Benchmark(Printed(30.6, 0.9), Printed(38.1, 2.1), 323),
        "hn-1": Benchmark(Printed(35.2, 0.3), Printed(8.0, 1.4), 905),
        "lr-2": Benchmark(Printed(30.0, 0.7), Printed(38.8, 1.2), 245),
        "hn-2": Benchmark(Printed(39.9, 0.4), Printed(10.2, 2.2), 660),
        "lr-3": Benchmark(Printed(26.5, 0.6), Printed(36.9, 0.9), 204),
        "hn-3": Benchmark(Printed(31.4, 1.8), Printed(5.2, 0.7), 416),
        "lr-4": Benchmark(Printed(31.8, 1.1), Printed(25.9, 2.0), 143),
        "hn-4": Benchmark(Printed(36.1, 1.1), Printed(10.0, 1.1), 176),
        "hn-f": Benchmark(Printed(39.9, 1.7), Printed(7.2, 1.8), 1200),
    },
}
"""Table 2: stream -> strategy -> average classification accuracy, forgetting, running time."""


class Compression(NamedTuple):
    """One row of Table 3; the compression level in percent, as printed."""

    parameters: int
    percent: int


TABLE3: Mapping[int, Compression] = {
    4: Compression(451661, 59),
    8: Compression(496489, 55),
    16: Compression(586145, 47),
    32: Compression(765457, 31),
    64: Compression(1124081, 0),
}
"""Table 3: size d of the channel vectors -> parameters of the hypernetwork, compression level.

The counts are those of HN-F for 10 tasks of 10 classes.
"""
TABLE3_TASKS, TABLE3_CLASSES = 10, 10


class Updates(NamedTuple):
    """One row of Tables 4 and 5, of one run: no spread is printed. The time in minutes."""

    aca: float
    learning_accuracy: float
    minutes: int


TABLE4: Mapping[tuple[str, str], Updates] = {
    ("hn-f", "none"): Updates(62.7, 65.0, 407),
    ("hn-f", "first"): Updates(62.8, 66.5, 636),
    ("hn-1", "none"): Updates(63.3, 68.0, 377),
    ("hn-1", "first"): Updates(61.5, 66.2, 509),
    ("hn-2", "none"): Updates(61.0, 64.2, 265),
    ("hn-2", "first"): Updates(63.2, 66.8, 389),
    ("hn-3", "none"): Updates(57.0, 59.3, 165),
    ("hn-3", "first"): Updates(59.4, 64.4, 243),
    ("hn-4", "none"): Updates(66.9, 73.4, 87),
    ("hn-4", "first"): Updates(74.3, 75.6, 115),
}
"""Table 4: (strategy, look-ahead) -> ACA, learning accuracy, time, on Split-CIFAR100.

The learning accuracy of ResNet-1 with look-ahead is printed as "66.2.0".
"""

TABLE5: Mapping[tuple[str, str], Updates] = {
    ("hn-f", "first"): Updates(63.8, 66.5, 636),
    ("hn-f", "second"): Updates(64.1, 66.2, 2406),
    ("hn-1", "first"): Updates(66.5, 66.2, 509),
    ("hn-1", "second"): Updates(61.9, 66.1, 1626),
    ("hn-2", "first"): Updates(63.2, 66.8, 389),
    ("hn-2", "second"): Updates(64.0, 64.7, 1104),
    ("hn-3", "first"): Updates(59.4, 64.6, 243),
    ("hn-3", "second"): Updates(56.6, 61.9, 585),
    ("hn-4", "first"): Updates(74.3, 75.6, 115),
    ("hn-4", "second"): Updates(73.1, 75.0, 122),
}
"""Table 5: (strategy, order of the look-ahead) -> ACA, learning accuracy, time, on Split-CIFAR100."""


@dataclass(frozen=True)
class Memory:
    """One depth of Table 6 on one dataset; sizes in MB of 2**20 bytes, as printed."""

    exemplar: tuple[int, int, int]
    replay_mb: float
    parameters: int
    hypernetwork_mb: float


TABLE6: Mapping[str, tuple[Memory, ...]] = {
    "split-cifar100": (
        Memory((3, 32, 32), 2.34, 1272877, 4.86),
        Memory((20, 32, 32), 15.62, 1217122, 4.64),
        Memory((4, 16, 16), 7.81, 1119522, 4.27),
        Memory((80, 8, 8), 3.91, 924322, 3.53),
        Memory((160, 4, 4), 1.95, 533922, 2.04),
    ),
    "split-tinyimagenet": (
        Memory((3, 64, 64), 18.75, 1272877, 4.86),
        Memory((20, 64, 64), 125.0, 1217122, 4.64),
        Memory((40, 32, 32), 62.50, 1119522, 4.27),
        Memory((80, 16, 16), 31.25, 924322, 3.53),
        Memory((160, 8, 8), 15.62, 533922, 2.04),
    ),
}
"""Table 6: stream -> by depth 0 to 4 (depth 0 is LR-0 and HN-F).

The exemplar of LR-2 on CIFAR-100 is printed as 4 × 16 × 16; its memory is that of 40 × 16 × 16.
The counts are those of 20 tasks of 100 classes, for Tiny ImageNet too.
"""
TABLE6_TASKS, TABLE6_CLASSES = 20, 100
REPLAY_BUFFER: Mapping[str, int] = {"split-cifar100": 200, "split-tinyimagenet": 400}
"""Exemplars of latent replay (§4.3)."""
