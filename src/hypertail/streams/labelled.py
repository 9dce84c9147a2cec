"""A whole labelled dataset in memory, before it is cut into experiences."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hypertail.errors import ConfigError, DataError
from hypertail.seeds import generator
from hypertail.streams.stream import Examples


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """A dataset: labels index `classes`; `test` is None where the source has no test set of its own."""

    name: str
    classes: tuple[str, ...]
    train: Examples
    test: Examples | None


def of_classes(images: LabelledImages, chosen: list[int]) -> LabelledImages:
    """The images of the `chosen` classes, relabelled 0, 1, .. in that order."""
    local = torch.full((len(images.classes),), -1)
    local[chosen] = torch.arange(len(chosen))

    def pick(examples: Examples) -> Examples:
        labels = local[examples.labels]
        rows = (labels >= 0).nonzero()[:, 0]
        return Examples(examples.images[rows], labels[rows])

    names = tuple(images.classes[label] for label in chosen)
    return LabelledImages(images.name, names, pick(images.train), pick(images.test) if images.test else None)


def hold_out(
    examples: Examples, classes: tuple[str, ...], share: float, seed: int, *purpose: object
) -> tuple[Examples, Examples]:
    """Split into (kept, held out), holding out the same `share` of every class.

    Each class is drawn with its own generator, so its split does not depend on the other classes. At least
    one image of a class is held out and at least one kept.

    Raises:
        DataError: a class has a single image.
    """
    kept, held = [], []
    for label, name in enumerate(classes):
        rows = (examples.labels == label).nonzero()[:, 0]
        if len(rows) == 0:
            continue
        if len(rows) == 1:
            raise DataError(
                f"class '{name}'",
                required=f"at least 2 images, to hold out {share:.0%} of them",
                found="1 image",
                mend="Add images to the class, or leave it out.",
            )
        order = rows[torch.randperm(len(rows), generator=generator(seed, *purpose, name))]
        count = min(max(1, round(share * len(rows))), len(rows) - 1)
        held.append(order[:count])
        kept.append(order[count:])
    return examples.subset(torch.cat(kept).sort().values), examples.subset(torch.cat(held).sort().values)


def shuffled(count: int, seed: int, *purpose: object) -> list[int]:
    """Class ids 0 .. count-1 in random order."""
    order: list[int] = torch.randperm(count, generator=generator(seed, *purpose)).tolist()
    return order


def partition(order: list[int], size: int) -> list[list[int]]:
    """Cut `order` into groups of `size`.

    Classes left over at the end form a smaller last group if they are at least two; a single one joins the
    last whole group.

    Raises:
        ConfigError: `size` is less than 2 or more than there are.
    """
    if not 2 <= size <= len(order):
        raise ConfigError(
            "classes per experience",
            required=f"2 to {len(order)}",
            found=str(size),
            mend="Choose a number in that range.",
        )
    groups = [order[start : start + size] for start in range(0, len(order), size)]
    if len(groups[-1]) == 1:
        groups[-2:] = [groups[-2] + groups[-1]]
    return groups
