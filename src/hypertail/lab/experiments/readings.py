"""What a command says before it trains: what was read of the data, and how many CPU threads it uses."""

from __future__ import annotations

import torch
from rich.console import Console
from rich.text import Text

from hypertail.streams import Stream
from hypertail.streams.report import plural


class Readings:
    """Prints what was read of each dataset, once, however many streams are made of it.

    Args:
        console: where.
        first: printed before the first of them; empty for nothing.
    """

    def __init__(self, console: Console, first: str = "") -> None:
        self.console, self._first = console, first
        self._told: set[tuple[str, str, str]] = set()

    def show(self, stream: Stream) -> Stream:
        """Print the reports of a stream that are new, and give the stream back."""
        if self._first:
            self.console.print(Text(self._first), soft_wrap=True)
            self._first = ""
        for report in stream.reports:
            dataset = (report.name, report.source, report.digest)
            if dataset not in self._told:
                self._told.add(dataset)
                for line in report.lines():
                    self.console.print(Text(line), soft_wrap=True)
        return stream


def threads_line() -> str:
    """The number of CPU threads, and how to change it."""
    count = torch.get_num_threads()
    other = "more" if count == 1 else "another number"
    return f"{plural(count, 'CPU thread')} ({other}: --threads N; results then differ in the last digits)"
