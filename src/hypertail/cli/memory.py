"""What to say where memory runs out: how much each option that decides it could be lowered to."""

from __future__ import annotations

import errno

from hypertail.cli.shared import Machine
from hypertail.errors import TrainingError

# by torch on CPU and GPU, its libraries, C++, and the system's loader and threads
_SAID = (
    "allocate memory",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "bad allocation",
    "alloc_failed",
    "unable to allocate",
    "failed to map segment",
    "can't start new thread",
    # an extension that had no memory for its error either
    "without setting an exception",
    "error return without exception set",
)
_SMALL_CACHE = 100_000_000
"""Bytes to try where the cache has taken its share of what seemed free."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error`, or what it came from, is an allocation that failed."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError) or (isinstance(seen, OSError) and seen.errno == errno.ENOMEM):
            return True
        kinds = (RuntimeError, ImportError, SystemError)
        if isinstance(seen, kinds) and any(words in str(seen).lower() for words in _SAID):
            return True
        seen = seen.__cause__
    return False


def out_of_memory(error: BaseException, options: object) -> TrainingError:
    """The error to show, with smaller values than those of `options` to try."""
    lines = str(error).strip().splitlines()
    found = lines[0][:200] if lines else type(error).__name__
    return TrainingError(
        "memory of this process",
        required="room for the images of a step and for kept features",
        found=f"no more ({found})",
        hint=_advice(options),
    )


def _advice(options: object) -> str:
    batch, machine = getattr(options, "batch_size", None), getattr(options, "machine", None)
    if not (isinstance(batch, int) and isinstance(machine, Machine)):
        return (
            "Close other programs or raise the limit; hypertail run can do with less, by --batch-size 16 and "
            f"--cache-bytes {_SMALL_CACHE}, say."
        )
    cache = machine.cache_bytes
    # a step needs two images at least
    smaller = [f"--batch-size {max(2, batch // 2)} (now {batch})"] if batch > 2 else []
    if cache is None or cache > _SMALL_CACHE:
        smaller.append(f"--cache-bytes {_SMALL_CACHE} (now {'a quarter of what is free' if cache is None else cache})")
    elif cache > 0:
        smaller.append(f"--cache-bytes 0 (now {cache})")
    if not smaller:
        return (
            f"Try a smaller --image-size, or raise the limit: --batch-size {batch} and --cache-bytes 0 are the least."
        )
    return f"Try {' and '.join(smaller)}."
