"""A whole labelled dataset in memory, before it is cut into experiences."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from hypertail.errors import ConfigError, DataError
from hypertail.seeds import generator
from hypertail.streams.digest import content_digest
from hypertail.streams.report import DatasetReport, counts_of, plural
from hypertail.streams.sources.brightness import brightness_notices
from hypertail.streams.stream import Examples


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """A dataset: labels index `classes`; `test` is None where the source has no test set of its own.

    Attributes:
        name: for people.
        report: what was read; None where a dataset is made by hand.
        seed_name: what class order and splits follow from, beside the seed; None for `name`. A user's folder keeps
            its order and splits when it is copied or renamed, so its name must not count.
    """

    name: str
    classes: tuple[str, ...]
    train: Examples
    test: Examples | None
    report: DatasetReport | None = None
    seed_name: str | None = None

    @property
    def purpose(self) -> str:
        """Names the generators of class order and splits."""
        return self.name if self.seed_name is None else self.seed_name


def described(images: LabelledImages, source: str, notices: tuple[str, ...] = ()) -> LabelledImages:
    """The dataset with a report: counts, digest, the `notices`, and whether there is anything to see in it."""
    splits = {"train": images.train} | ({} if images.test is None else {"test": images.test})
    counts = {split: counts_of(examples.labels.tolist(), images.classes) for split, examples in splits.items()}
    report = DatasetReport(
        images.name,
        source,
        counts,
        notices=(*notices, *brightness_notices(tuple(splits.values()))),
        digest=content_digest(images.classes, splits),
    )
    return replace(images, report=report)


def of_classes(images: LabelledImages, chosen: list[int]) -> LabelledImages:
    """The images of the `chosen` classes, relabelled 0, 1, .. in that order."""
    local = torch.full((len(images.classes),), -1)
    local[chosen] = torch.arange(len(chosen))

    def pick(examples: Examples) -> Examples:
        labels = local[examples.labels]
        rows = (labels >= 0).nonzero()[:, 0]
        return Examples(examples.images[rows], labels[rows])

    names = tuple(images.classes[label] for label in chosen)
    test = None if images.test is None else pick(images.test)
    return replace(images, classes=names, train=pick(images.train), test=test)


def hold_out(
    examples: Examples,
    classes: tuple[str, ...],
    share: float,
    seed: int,
    *purpose: object,
    taken: Examples | None = None,
) -> tuple[Examples, Examples]:
    """Split into (kept, held out), holding out the same `share` of every class.

    Each class is drawn with its own generator, so its split does not depend on the other classes. At least
    one image of a class is held out and at least one kept.

    Args:
        examples: to split.
        classes: class names; labels index them.
        share: of each class, in (0, 1).
        seed, purpose: of the generators.
        taken: what was held out of these classes before, for a test set; named where too little is left.

    Raises:
        DataError: a class has a single image.
    """
    kept, held = [], []
    for label, name in enumerate(classes):
        rows = (examples.labels == label).nonzero()[:, 0]
        if len(rows) == 0:
            continue
        if len(rows) == 1:
            before = 0 if taken is None else int((taken.labels == label).sum())
            raise _too_few(name, share, before)
        order = rows[torch.randperm(len(rows), generator=generator(seed, *purpose, name))]
        count = min(max(1, round(share * len(rows))), len(rows) - 1)
        held.append(order[:count])
        kept.append(order[count:])
    return examples.subset(torch.cat(kept).sort().values), examples.subset(torch.cat(held).sort().values)


def at_most(examples: Examples, classes: tuple[str, ...], count: int, seed: int, *purpose: object) -> Examples:
    """At most `count` examples of each class, in their old order.

    Each class is drawn with its own generator, so that its choice does not depend on the other classes, and a larger
    `count` keeps what a smaller one keeps.

    Args:
        examples: to choose from.
        classes: class names; labels index them.
        count: of each class.
        seed, purpose: of the generators.
    """
    kept = []
    for label, name in enumerate(classes):
        rows = (examples.labels == label).nonzero()[:, 0]
        kept.append(rows[torch.randperm(len(rows), generator=generator(seed, *purpose, name))[:count]])
    return examples.subset(torch.cat(kept).sort().values)


def _too_few(name: str, share: float, before: int) -> DataError:
    if before:
        return DataError(
            f"class '{name}'",
            required="at least 3 images: one to learn, one for the test set and one to validate",
            found=f"{plural(before + 1, 'image')}, {before} of them held out for the test set already",
            hint="Add images to the class, leave it out, give a test folder, or go without a validation share.",
        )
    return DataError(
        f"class '{name}'",
        required=f"at least 2 images, to hold out {share:.0%} of them",
        found="1 image",
        hint="Add images to the class, or leave it out.",
    )


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
            hint="Choose a number in that range.",
        )
    groups = [order[start : start + size] for start in range(0, len(order), size)]
    if len(groups[-1]) == 1:
        groups[-2:] = [groups[-2] + groups[-1]]
    return groups
