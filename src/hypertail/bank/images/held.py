"""Images of a task in memory, or decoded from their files in batches when they are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from hypertail.bank.images.resizing import decoded
from hypertail.bank.images.task_images import TaskImages
from hypertail.bank.preprocessing import Preprocessing
from hypertail.streams.names import shown
from hypertail.streams.sources.decode import quiet
from hypertail.streams.sources.depth import Rule

THREADS = 8
"""Files that are decoded at a time; Pillow works outside the interpreter's lock."""


@dataclass(frozen=True, eq=False)
class ImagesInMemory(TaskImages):
    """Images as one tensor.

    Attributes:
        data: uint8 (n, 3, size, size).
    """

    data: UInt8[Tensor, "n 3 s s"] = field(default_factory=lambda: torch.zeros(0, 3, 1, 1, dtype=torch.uint8))

    def pixels(self, rows: Sequence[int]) -> UInt8[Tensor, "k 3 s s"]:
        """The images at `rows`."""
        return self.data[torch.as_tensor(list(rows), dtype=torch.long)]

    def subset(self, rows: Sequence[int]) -> ImagesInMemory:
        """The images at `rows` alone, with all classes."""
        chosen = torch.as_tensor(list(rows), dtype=torch.long)
        return replace(self, data=self.data[chosen], labels=self.labels[chosen], validation=None)


@dataclass(frozen=True, eq=False)
class ImagesOnDisk(TaskImages):
    """Images that stay in their files.

    Attributes:
        files: one for each label.
        preprocessing: says the size and how it is reached.
        scaling: how images of more than 8 bits are scaled, one rule for all of them.
    """

    files: tuple[Path, ...] = ()
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    scaling: Mapping[bool, Rule] = field(default_factory=dict)

    def pixels(self, rows: Sequence[int]) -> UInt8[Tensor, "k 3 s s"]:
        """The images at `rows`, read now."""
        return read_files([self.files[row] for row in rows], self.preprocessing, self.scaling)

    def subset(self, rows: Sequence[int]) -> ImagesOnDisk:
        """The images at `rows` alone, with all classes."""
        chosen = torch.as_tensor(list(rows), dtype=torch.long)
        files = tuple(self.files[row] for row in rows)
        return replace(self, files=files, labels=self.labels[chosen], validation=None)


def read_files(
    files: Sequence[Path], preprocessing: Preprocessing, scaling: Mapping[bool, Rule] | None = None
) -> UInt8[Tensor, "k 3 s s"]:
    """The pixels of image files, (k, 3, size, size).

    Raises:
        DataError: a file is not a readable image; the message names it.
    """
    read = partial(_one, preprocessing=preprocessing, scaling=scaling)
    with quiet(), ThreadPoolExecutor(THREADS) as pool:
        pixels = list(pool.map(read, files))
    size = preprocessing.size
    return torch.stack(pixels) if pixels else torch.zeros(0, 3, size, size, dtype=torch.uint8)


def _one(file: Path, preprocessing: Preprocessing, scaling: Mapping[bool, Rule] | None) -> Tensor:
    return decoded(file, preprocessing, lambda: f"image '{shown(file)}'", scaling)


def digest_of_file(file: Path) -> bytes:
    """Of its bytes."""
    digest = hashlib.blake2b(digest_size=16)
    with file.open("rb") as opened:
        while part := opened.read(1 << 20):
            digest.update(part)
    return digest.digest()
