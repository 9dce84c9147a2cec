"""Progress bars, and lines with time left where there is no terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from hypertail.lab.experiments import progress
from hypertail.lab.experiments.progress import RunProgress


def console(width: int = 100, *, terminal: bool = False) -> tuple[Console, io.StringIO]:
    written = io.StringIO()
    return Console(file=written, width=width, force_terminal=terminal, color_system=None), written


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_lines_with_time_left_where_there_is_no_terminal(clock: Clock) -> None:
    screen, written = console(30)  # narrower than a line, which stays whole
    with RunProgress(screen, every=10) as shown:
        shown.start("HN-3 seed 0 (1/2)")
        for now, done in ((5, 10), (12, 20), (15, 30), (25, 40)):
            clock.now = now
            shown(done, 400, f"epoch {done}")
    assert written.getvalue().splitlines() == [
        "HN-3 seed 0 (1/2): 20/400 steps, epoch 20, about 0:04:26 left",
        "HN-3 seed 0 (1/2): 40/400 steps, epoch 40, about 0:04:00 left",
    ]


def test_each_phase_is_timed_on_its_own(clock: Clock) -> None:
    screen, written = console()
    with RunProgress(screen, every=1) as shown:
        shown.start("HN-3")
        clock.now = 100
        shown(100, 100, "trunk")
        clock.now = 101
        shown(10, 110, "first")  # nothing to judge by yet
        clock.now = 103
        shown(20, 110, "second")
        shown.start("LR-3")
        clock.now = 200
        shown(90, 110, "continued")
        clock.now = 201
        shown(100, 110, "next")
    assert written.getvalue().splitlines() == [
        "HN-3: 100/100 steps, trunk",
        "HN-3: 10/110 steps, first",
        "HN-3: 20/110 steps, second, about 0:00:18 left",
        "LR-3: 90/110 steps, continued",
        "LR-3: 100/110 steps, next, about 0:00:01 left",
    ]


def test_a_bar_on_a_terminal() -> None:
    screen, written = console(terminal=True)
    with RunProgress(screen) as shown:
        shown.start("HN-3 seed 0")
        shown(5, 10, "experience 1/2")
    assert "HN-3 seed 0" in written.getvalue()
    assert "50%" in written.getvalue()
    assert "left" in written.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_a_title_with_brackets_is_no_markup(clock: Clock, terminal: bool) -> None:
    screen, written = console(terminal=terminal)
    with RunProgress(screen, every=0) as shown:
        shown.start("photos [/summer] [red]")
        shown(10, 40, "epoch [/1]")
    assert "photos [/summer] [red]" in written.getvalue()
    assert "epoch [/1]" in written.getvalue()
