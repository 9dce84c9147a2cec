"""What a run's data was, for its record: a digest, what was read, and how other data differs from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hypertail.errors import ConfigError
from hypertail.streams import Stream
from hypertail.streams.report import DatasetReport, plural

SHOWN = 4  # differences that an error lists


@dataclass(frozen=True)
class DataRecord:
    """The data of a run.

    Attributes:
        digest: of the stream (`Stream.digest`).
        reports: what was read, one for each dataset; none where the stream was made by hand.
    """

    digest: str
    reports: tuple[DatasetReport, ...] = ()

    @classmethod
    def of(cls, stream: Stream) -> DataRecord:
        """The record of a stream."""
        return cls(stream.digest, stream.reports)

    def to_json(self) -> dict[str, Any]:
        """The record as JSON can hold it."""
        return {"digest": self.digest, "reports": [report.to_json() for report in self.reports]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DataRecord:
        """The record that `to_json` gave.

        Raises:
            KeyError, TypeError, AttributeError, ValueError: it did not.
        """
        return cls(str(value["digest"]), tuple(DatasetReport.from_json(report) for report in value["reports"]))

    def refuse_other(self, other: DataRecord, what: str) -> None:
        """Find out whether a run that began with this data may go on with `other`.

        Raises:
            ConfigError: it may not; the error says what changed, as far as that is known.
        """
        if other.digest != self.digest:
            raise ConfigError(
                f"data of {what}",
                required="the data that it began with, to reuse it",
                found="; ".join(_shortened(list(_differences(self, other)))),
                hint="Restore the data, or delete that directory to start again.",
            )


def _differences(before: DataRecord, now: DataRecord) -> Iterator[str]:
    if len(before.reports) == len(now.reports):
        for old, new in zip(before.reports, now.reports, strict=True):
            for split in dict.fromkeys((*old.splits, *new.splits)):
                yield from _of_split(split, old.splits.get(split, {}), new.splits.get(split, {}))


def _of_split(split: str, before: Mapping[str, int], now: Mapping[str, int]) -> Iterator[str]:
    kind = "training" if split == "train" else split
    for name in dict.fromkeys((*before, *now)):
        old, new = before.get(name, 0), now.get(name, 0)
        if not old:
            yield f"a new class '{name}' ({plural(new, f'{kind} image')})"
        elif not new:
            yield f"no class '{name}' any more ({plural(old, f'{kind} image')})"
        elif old != new:
            yield f"{plural(new, f'{kind} image')} of class '{name}', before {old}"


def _shortened(found: list[str]) -> list[str]:
    if not found:
        return ["other contents: images, their labels or their order"]
    return found if len(found) <= SHOWN else [*found[:SHOWN], f"and {len(found) - SHOWN} more"]
