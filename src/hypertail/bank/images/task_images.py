"""The images of one task, however they are stored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from jaxtyping import Int64, UInt8
from torch import Tensor

from hypertail.streams.sources.depth import Scaling


@dataclass(frozen=True, eq=False)
class TaskImages(ABC):
    """Labelled images of a task, in memory or on disk.

    Attributes:
        classes: names; labels index them.
        labels: int64 (n,).
        digest: follows from pixels, labels and class names, whatever the place, names and order of files.
        notices: what a reader should know, a sentence each (what was left out, how deep images were scaled).
        test: what lay beside them to test on, with the same classes; None where nothing did.
        scaling: how images of more than 8 bits are scaled, here and where others like them come later.
    """

    classes: tuple[str, ...]
    labels: Int64[Tensor, " n"]
    digest: str
    notices: tuple[str, ...] = ()
    test: TaskImages | None = None
    scaling: Scaling = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    @abstractmethod
    def pixels(self, rows: Sequence[int]) -> UInt8[Tensor, "k 3 s s"]:
        """The images at `rows`, at the size that was asked for when they were opened."""

    @abstractmethod
    def subset(self, rows: Sequence[int]) -> TaskImages:
        """The images at `rows` alone, with all classes and without what lay beside them."""
