"""One seed, many named generators: nothing depends on, or disturbs, the global random state.

Randomness is derived, never advanced: what is drawn at a step follows from (seed, purpose, task, step) alone, so that a
run can go on from any step without a record of the draws before it. No generator outlives the step that it is made for.
"""

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
    """A fresh generator for the purpose `names`, independent of every other purpose.

    Args:
        seed: of the run.
        names: what it is for, as far as draws are to differ: `("replay", task, step)`.
        device: where it draws.
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


def reseed(seed: int, *names: object) -> None:
    """Let what draws from the global state from here on follow `seed`; to be called within `seeded`, which restores it.

    Cheap enough for every step: a few microseconds.
    """
    value = derive(seed, *names)
    torch.default_generator.manual_seed(value)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(value)
