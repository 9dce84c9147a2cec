"""What was read of a dataset, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

EXAMPLES = 3
SHOWN = 10  # of those listed, in a line for people
MANY_CLASSES = 12  # more than these are summarised


@dataclass(frozen=True)
class LeftOut:
    """Files of one kind that were not read.

    Attributes:
        reason: the kind, and why where it is not plain.
        count: number of files.
        examples: the first few, as paths inside the dataset; all that were skipped for being unreadable.
    """

    reason: str
    count: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetReport:
    """What was read of a dataset.

    Attributes:
        name: of the dataset.
        source: where it was read from.
        splits: split ("train", and "test" where the source has one) -> class name -> number of images.
        held_out: purpose ("test", "validation") -> number of training images held out for it.
        left_out: what was not read, and why.
        notices: what else a reader should know, a sentence each: which folders, splits and columns were chosen, how
            deep images were scaled, that images are nearly black.
        cache_file: where the decoded images are kept, or None where they are not.
        digest: of pixels, labels and class names (`content_digest`), whatever the place, names and order of files.
    """

    name: str
    source: str
    splits: Mapping[str, Mapping[str, int]]
    held_out: Mapping[str, int] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    notices: tuple[str, ...] = ()
    cache_file: str | None = None
    digest: str = ""

    def to_json(self) -> dict[str, Any]:
        """The report as JSON can hold it: objects, lists, text and whole numbers."""
        return {
            "name": self.name,
            "source": self.source,
            "splits": {split: dict(counts) for split, counts in self.splits.items()},
            "held_out": dict(self.held_out),
            "left_out": [
                {"reason": item.reason, "count": item.count, "examples": list(item.examples)} for item in self.left_out
            ],
            "notices": list(self.notices),
            "cache_file": self.cache_file,
            "digest": self.digest,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DatasetReport:
        """The report that `to_json` gave.

        Raises:
            KeyError, TypeError, AttributeError, ValueError: it did not.
        """
        return cls(
            str(value["name"]),
            str(value["source"]),
            {str(split): {str(k): int(n) for k, n in counts.items()} for split, counts in value["splits"].items()},
            {str(purpose): int(count) for purpose, count in value["held_out"].items()},
            tuple(
                LeftOut(str(item["reason"]), int(item["count"]), tuple(str(name) for name in item["examples"]))
                for item in value["left_out"]
            ),
            tuple(str(notice) for notice in value["notices"]),
            None if value["cache_file"] is None else str(value["cache_file"]),
            str(value["digest"]),
        )

    def lines(self) -> tuple[str, ...]:
        """A few short sentences for people: counts first, then what was left out, then notices."""
        first = f"{self.name}: {_counted('training', self.splits.get('train', {}))}"
        for purpose, count in self.held_out.items():
            first += f", {count} of them held out for {purpose}"
        for split, counts in self.splits.items():
            if split != "train":
                first += f"; {_counted(split, counts)}"
        lines = [first]
        lines += left_out_lines(self.left_out)
        lines += self.notices
        if self.cache_file is not None:
            lines.append(f"the decoded images are kept in {self.cache_file} (hypertail cache lists and clears)")
        return tuple(lines)


def left_out_lines(items: Sequence[LeftOut]) -> tuple[str, ...]:
    """A line for people, or none."""
    return (f"left out: {'; '.join(_left_out(item) for item in items)}",) if items else ()


def counts_of(labels: Sequence[int], classes: Sequence[str]) -> dict[str, int]:
    """Class name -> number of labels, in the order of `classes`, without classes that have none."""
    found = dict.fromkeys(range(len(classes)), 0)
    for label in labels:
        found[label] += 1
    return {classes[label]: count for label, count in found.items() if count}


def plural(count: int, thing: str, things: str = "") -> str:
    """`1 image`, `2 images`."""
    return f"{count} {thing if count == 1 else things or thing + 's'}"


def _counted(split: str, counts: Mapping[str, int]) -> str:
    words = f"{plural(sum(counts.values()), f'{split} image')} of {plural(len(counts), 'class', 'classes')}"
    if not counts:
        return words
    if len(counts) <= MANY_CLASSES:
        return f"{words} ({', '.join(f'{name} {count}' for name, count in counts.items())})"
    least, most = min(counts.values()), max(counts.values())
    return f"{words} ({least} each)" if least == most else f"{words} ({least} to {most} each)"


def _left_out(item: LeftOut) -> str:
    examples = ", ".join(item.examples[:SHOWN])
    more = ", ..." if item.count > min(SHOWN, len(item.examples)) else ""
    return f"{plural(item.count, 'file')} {item.reason}" + (f" ({examples}{more})" if examples else "")
