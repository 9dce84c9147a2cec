"""What a command prints while it runs a batch."""

from __future__ import annotations

from types import TracebackType

import torch
from rich.console import Console
from rich.text import Text

from hypertail.errors import HypertailError
from hypertail.lab.experiments.batch import Job
from hypertail.lab.experiments.listener import Listener
from hypertail.lab.experiments.progress import RunProgress
from hypertail.lab.records.runfile import RunFile
from hypertail.streams import Stream
from hypertail.streams.report import plural
from hypertail.training.stop import Stop


class ConsoleListener(Listener):
    """Prints what was read of each dataset, once, a line for every run, and progress.

    A context manager: within it, a signal that asks to stop waits until what was learned is saved.

    Args:
        console: where.
        first: printed before anything else; empty for nothing.
    """

    def __init__(self, console: Console, first: str = "") -> None:
        self.console, self._first = console, first
        self._progress = RunProgress(console)
        self._title = ""
        self._told: set[tuple[str, str, str]] = set()
        self.stop = Stop()
        self._listening = self.stop.listening()

    def __enter__(self) -> ConsoleListener:
        """Show the progress bar, and listen to signals."""
        self._listening.__enter__()
        self._progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove it, and leave signals as they were."""
        self._progress.__exit__(kind, error, trace)
        self._listening.__exit__(None, None, None)

    def print(self, text: str) -> None:
        """A line; names in it may hold square brackets, which are no markup."""
        self.console.print(Text(text), soft_wrap=True)

    def loaded(self, stream: Stream) -> None:
        """Print the reports of a stream that are new."""
        if self._first:
            self.print(self._first)
            self._first = ""
        for report in stream.reports:
            dataset = (report.name, report.source, report.digest)
            if dataset not in self._told:
                self._told.add(dataset)
                for line in report.lines():
                    self.print(line)

    def started(self, job: Job, number: int, total: int | None) -> None:
        """Name the run at the bar."""
        self._title = job.title
        self._progress.start(f"{job.title} ({number}/{total})" if total is not None and total > 1 else job.title)

    def progress(self, done: int, total: int, text: str) -> None:
        """Move the bar."""
        self._progress(done, total, text)

    def notice(self, text: str) -> None:
        """A line with the run's title."""
        self.print(f"{self._title}: {text}")

    def finished(self, job: Job, run: RunFile, *, reused: bool) -> None:
        """A line with accuracy and time."""
        self.tell(job.title, run, reused=reused)

    def tell(self, title: str, run: RunFile, *, reused: bool) -> None:
        """The same of a run that was no job."""
        aca = 100 * (run.metrics["aca"] or 0)
        self.print(f"{title}: ACA {aca:.1f} %, {run.seconds:.0f} s{', finished before' if reused else ''}")

    def failed(self, job: Job, error: HypertailError) -> None:
        """A line with what went wrong."""
        self.print(f"{job.title}: failed: {error}")


def threads_line() -> str:
    """The number of CPU threads, and how to change it."""
    count = torch.get_num_threads()
    other = "more" if count == 1 else "another number"
    return f"{plural(count, 'CPU thread')} ({other}: --threads N; results then differ in the last digits)"
