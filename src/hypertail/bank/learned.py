"""What came of learning or extending a task."""

from __future__ import annotations

from dataclasses import dataclass

from hypertail.bank.certificate.certificate import Certificate


@dataclass(frozen=True)
class Learned:
    """What came of learning or extending a task.

    Attributes:
        name: of the task.
        method: by which.
        images: that it was learned from.
        held_out_accuracy: 0..1; None where not of every class an image was held out.
        nbytes: of its file.
        seconds: it took.
        generation: that it made.
        certificate: of all tasks that were there before.
        verdict: why this method, where it was chosen; "" otherwise.
        notices: what a reader should know.
        held_out_images: of which `held_out_accuracy` is.
    """

    name: str
    method: str
    images: int
    held_out_accuracy: float | None
    nbytes: int
    seconds: float
    generation: int
    certificate: Certificate | None
    verdict: str = ""
    notices: tuple[str, ...] = ()
    held_out_images: int = 0
