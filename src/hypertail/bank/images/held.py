"""Images of a task in memory, or decoded from their files in batches when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from hypertail.bank.images.task_images import TaskImages
from hypertail.bank.preprocessing import Preprocessing
from hypertail.streams.sources.decode import decode_files, finished, rules_for
from hypertail.streams.sources.depth import Scaling


@dataclass(frozen=True, eq=False)
class ImagesInMemory(TaskImages):
    """Images as one tensor.

    Attributes:
        data: uint8 (n, 3, size, size).
    """

    data: UInt8[Tensor, "n 3 s s"] = field(default_factory=lambda: torch.zeros(0, 3, 1, 1, dtype=torch.uint8))

    def pixels(self, rows: Sequence[int]) -> UInt8[Tensor, "k 3 s s"]:
        """The images at `rows`."""
        return self.data[torch.tensor(list(rows), dtype=torch.long)]

    def subset(self, rows: Sequence[int]) -> ImagesInMemory:
        """The images at `rows` alone."""
        chosen = torch.tensor(list(rows), dtype=torch.long)
        return replace(self, data=self.data[chosen], labels=self.labels[chosen], test=None)


@dataclass(frozen=True, eq=False)
class ImagesOnDisk(TaskImages):
    """Images that stay in their files.

    Attributes:
        files: one for each label.
        preprocessing: says the size and how it is reached.
    """

    files: tuple[Path, ...] = ()
    preprocessing: Preprocessing = field(default_factory=Preprocessing)

    def pixels(self, rows: Sequence[int]) -> UInt8[Tensor, "k 3 s s"]:
        """The images at `rows`, read now.

        Raises:
            DataError: a file is gone, or no readable image; the message names it.
        """
        return read_files([self.files[row] for row in rows], self.preprocessing, self.scaling)

    def subset(self, rows: Sequence[int]) -> ImagesOnDisk:
        """The images at `rows` alone."""
        chosen = torch.tensor(list(rows), dtype=torch.long)
        files = tuple(self.files[row] for row in rows)
        return replace(self, files=files, labels=self.labels[chosen], test=None)


def crop_share(preprocessing: Preprocessing) -> float | None:
    """Of the shorter side, as the decoder takes it."""
    return preprocessing.crop_share if preprocessing.resize == "crop" else None


def read_files(files: Sequence[Path], preprocessing: Preprocessing, scaling: Scaling) -> UInt8[Tensor, "k 3 s s"]:
    """The pixels of image files.

    Args:
        files: at least one.
        preprocessing: says the size and how it is reached.
        scaling: of images of more than 8 bits.

    Raises:
        DataError: a file is not a readable image; the message names it.
    """
    pictures, _, _ = decode_files(files, preprocessing.size, crop_share=crop_share(preprocessing))
    return finished([pictures], preprocessing.size, rules_for([pictures], scaling))[0][0]
