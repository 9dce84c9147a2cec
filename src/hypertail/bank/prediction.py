"""What a bank says of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Prediction:
    """The answer for one image.

    Attributes:
        task: its task; None where it was not given and the image belongs to none.
        label: its class; None where `task` is.
        probability: calibrated probability of the label (with the task inferred: of task and label).
        known: whether it looks like something that was learned. Where the task was given, an image that does not is
            labelled all the same.
        path: of its file, where it came from one.
        nearest: the task and class that it is nearest to, also where it is unknown.
        error: why there is no answer, where the image could not be read and was skipped; None otherwise.
    """

    task: str | None
    label: str | None
    probability: float
    known: bool
    path: str | None = None
    nearest: tuple[str, str] | None = None
    error: str | None = None

    @classmethod
    def none(cls, path: str | None, error: str) -> Prediction:
        """That of an image that could not be read."""
        return cls(None, None, 0.0, known=False, path=path, error=error)

    def __str__(self) -> str:
        """`bakery: pretzel (0.97)`, `unknown`, or `not answered: ...`."""
        where = "" if self.path is None else f"{self.path}: "
        if self.error is not None:
            return f"{where}not answered: {self.error}"
        if self.label is None:
            return f"{where}unknown"
        doubt = "" if self.known else ", unlike anything learned"
        return f"{where}{self.task}: {self.label} ({self.probability:.2f}{doubt})"

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        nearest = None if self.nearest is None else {"task": self.nearest[0], "label": self.nearest[1]}
        return {
            "path": self.path,
            "task": self.task,
            "label": self.label,
            "probability": self.probability,
            "known": self.known,
            "nearest": nearest,
            **({} if self.error is None else {"error": self.error}),
        }
