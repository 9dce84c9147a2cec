"""One seed, many named generators: nothing depends on, or disturbs, the global random state."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive(seed: int, *names: object) -> int:
    """A 63-bit seed for the purpose `names` (`derive(0, "order", 3)`), the same on every machine."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *names: object, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for the purpose `names`, independent of every other purpose.

    Generators are derived, never advanced across experiences, so a resumed run draws what an
    uninterrupted one would have drawn.
    """
    return torch.Generator(device=device).manual_seed(derive(seed, *names))


@contextmanager
def seeded(seed: int, *names: object) -> Iterator[None]:
    """Make what draws from the global state inside the block (initialisation, dropout) follow `seed`.

    The global state is left as it was.
    """
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive(seed, *names))
        yield
