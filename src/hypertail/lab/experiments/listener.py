"""The moments of a batch of runs that someone may want to hear of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypertail.training.features.cache import warn
from hypertail.training.stop import Stop

if TYPE_CHECKING:
    from torch import Tensor

    from hypertail.errors import HypertailError
    from hypertail.lab.experiments.batch import Job
    from hypertail.lab.records.runfile import RunFile
    from hypertail.streams import Stream


class Listener:
    """Hears of everything and does nothing; override what you need.

    Attributes:
        stop: asked after each step whether to save and stop.
    """

    stop = Stop()

    def loaded(self, stream: Stream) -> None:
        """A stream was read."""

    def started(self, job: Job, number: int, total: int | None) -> None:
        """A job begins, number `number` (from 1) of `total`, None where nobody knows yet how many there will be."""

    def progress(self, done: int, total: int, text: str) -> None:
        """`done` of `total` optimizer steps of the present job are taken; `text` says where that is."""

    def learned(self, task: int, accuracies: Tensor) -> None:
        """Experience `task` of the present job is learned, with these accuracies up to it, and its checkpoint written.

        What this raises ends the run, which can go on from there.
        """

    def notice(self, text: str) -> None:
        """What the user should know, such as inputs that do not fit the memory; a warning unless overridden."""
        warn(text)

    def finished(self, job: Job, run: RunFile, *, reused: bool) -> None:
        """A job has its result; `reused` if it had it before."""

    def failed(self, job: Job, error: HypertailError) -> None:
        """A job failed, and the batch goes on."""


SILENT = Listener()
"""Shows nothing but warnings."""
