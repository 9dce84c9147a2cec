"""A signal waits for the next step where somebody asks, and stops at once elsewhere; lessons that cannot be saved."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from hypertail.strategies.separate import SeparateLesson
from hypertail.training.stop import SIGNALS, Stop
from support.asserts import assert_same_run
from support.tiny import StopAfter, build, tiny_stream, train


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_waits_only_where_somebody_asks(number: signal.Signals) -> None:
    # they may be ignored where the tests run in the background
    before = signal.signal(number, signal.default_int_handler)
    stop, usual = Stop(), signal.getsignal(number)
    with stop.listening():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        with stop.heeded():
            os.kill(os.getpid(), number)
            assert stop.requested
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
    assert signal.getsignal(number) == usual
    signal.signal(number, before)


def test_a_lesson_that_does_not_say_what_it_changed_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SeparateLesson, "state", lambda self: None)
    stream, path = tiny_stream(2), tmp_path / "run.safetensors"
    whole, second = build("separate"), build("separate")
    expected = train(whole, stream)
    with pytest.raises(KeyboardInterrupt):
        train(build("separate"), stream, checkpoint=path, stop=StopAfter(2))
    assert not (tmp_path / "run.unfinished.safetensors").exists()
    assert_same_run(expected, train(second, stream, checkpoint=path, resume=True), whole, second)
