"""A wish to stop, from a signal: heeded between two steps, so that what was learned can be saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Stop:
    """Whether to stop. A trainer asks after each step.

    Attributes:
        requested: a signal came.
    """

    def __init__(self) -> None:
        self.requested, self._heeded, self._number = False, False, int(signal.SIGINT)

    def now(self) -> None:
        """Stop, as was requested.

        Raises:
            KeyboardInterrupt: always; it holds the number of the signal.
        """
        raise KeyboardInterrupt(self._number)

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Within it, somebody asks: a signal waits for that. Elsewhere, and if it comes twice, it stops at once."""
        self._heeded = True
        try:
            yield
        finally:
            self._heeded = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within it, SIGINT, SIGTERM and SIGHUP ask to stop, but for those that are ignored, as in the background.

        In another thread than the main one, which no signal reaches, nothing changes.

        Raises:
            KeyboardInterrupt: a signal came, and nobody will ask; it holds the number of the signal.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        usual = {number: signal.getsignal(number) for number in SIGNALS}
        try:
            for number, handler in usual.items():
                if handler is not signal.SIG_IGN:
                    signal.signal(number, self._receive)
            yield
        finally:
            for number, handler in usual.items():
                signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._number = number
        if self.requested or not self._heeded:
            self.now()
        self.requested = True
