"""How the examples of an epoch are cut into batches."""

from __future__ import annotations


def batch_sizes(examples: int, size: int) -> list[int]:
    """Sizes of the batches of one epoch: a last batch of one, on which statistics mean nothing, joins its neighbour."""
    sizes = [size] * (examples // size)
    rest = examples % size
    if rest == 1 and sizes:
        sizes[-1] += 1
    elif rest:
        sizes.append(rest)
    return sizes
