"""`hypertail` and `python -m hypertail`: loads the program, which takes seconds, and stops quietly meanwhile, too."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Entry point of the command `hypertail`."""
    usual = signal.default_int_handler
    # where interrupts are ignored, as in the background, they stay so
    heeds = signal.getsignal(signal.SIGINT) is usual
    try:
        if heeds:
            # an exception in the middle of an import of C code may come out as another one: leave at once instead
            signal.signal(signal.SIGINT, _leave)
        from hypertail.cli import main as command

        if heeds:
            signal.signal(signal.SIGINT, usual)
        command()
    except KeyboardInterrupt:
        sys.exit(130)
    except (ImportError, MemoryError, OSError) as error:
        if not isinstance(error, MemoryError) and "map segment" not in str(error) and "allocate" not in str(error):
            raise
        print(
            f"error: memory of this process: too little to load the program ({error}). Raise its limit.",
            file=sys.stderr,
        )
        sys.exit(1)


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"stopped\n")
    os._exit(130)  # nothing has begun that would have to be ended


if __name__ == "__main__":
    main()
