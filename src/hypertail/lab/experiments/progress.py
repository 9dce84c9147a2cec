"""Progress bars with time left, and plain lines where there is no terminal."""

from __future__ import annotations

import time
from datetime import timedelta
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text


class RunProgress:
    """Shows one run after another: a bar on a terminal, otherwise a line every few seconds."""

    def __init__(self, console: Console, every: float = 10.0) -> None:
        self.console, self.every = console, every
        self._bar: Progress | None = None
        self._title, self._last = "", 0.0
        self._phase, self._since, self._done = 0, 0.0, 0

    def __enter__(self) -> RunProgress:
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.fields[title]}", style="bold", markup=False),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.description}", markup=False),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self._bar.__enter__()
            self._task = self._bar.add_task("", title="", total=1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, trace)

    def start(self, title: str) -> None:
        """A new run begins."""
        self._title, self._last, self._phase = title, time.monotonic(), 0
        if self._bar is not None:
            self._bar.reset(self._task, title=title, description="loading", total=1)

    def __call__(self, done: int, total: int, text: str) -> None:
        """`done` of `total` steps are taken."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, description=text)
            return
        now = time.monotonic()
        if total != self._phase or done < self._done:
            # Another phase with steps of another length, or a run continued half-way: time it from here.
            self._phase, self._since, self._done = total, now, done
        if now - self._last >= self.every:
            self._last = now
            line = f"{self._title}: {done}/{total} steps, {text}"
            if done > self._done:
                seconds = (now - self._since) * (total - done) / (done - self._done)
                line += f", about {timedelta(seconds=round(seconds))} left"
            self.console.print(Text(line), soft_wrap=True)
