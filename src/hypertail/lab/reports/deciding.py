"""The options of a run that decide its outcome, and those that tell it apart from others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from hypertail.errors import ConfigError
from hypertail.lab.experiments.describe import spell
from hypertail.lab.experiments.library import options_of
from hypertail.lab.records.runfile import RunFile

_PLACE = {
    *("seed", "seeds", "out", "output", "root", "cache", "device", "threads", "workers", "num_workers"),
    *("resume", "overwrite", "progress", "quiet", "verbose", "command", "name", "tags"),
}
"""Options of one's own that say where, not what, was run: runs that differ only in them are compared as the same."""
_IN_COLUMNS = {"seed", "experiences"}
"""Said by a run's seed and by the number of its tasks."""


@dataclass(frozen=True)
class Deciding:
    """The options of one run in words, flat, by their names (`method.rank`).

    Attributes:
        options: those that decide the outcome.
        all: the others too.
    """

    options: Mapping[str, str]
    all: Mapping[str, str]

    @classmethod
    def of(cls, run: RunFile) -> Deciding:
        """Those of a run: what has no effect on its strategy, or only decides what is recorded, decides nothing.

        Of options of the user's own all decide, save those of the first level that say where it was run.
        """
        try:
            config = options_of(run).settled()
        except ConfigError:  # options of the user's own
            own = {name: value for name, value in run.config.items() if not _is_place(name, value)}
            flat = {name: str(value) for name, value in sorted(_leaves(own, run.seed))}
            return cls(flat, flat)
        identity = config.identity()
        known = {name: identity.get(_last(name), value) for name, value in sorted(_leaves(config.to_json()))}
        words = {name: _spelled(value) for name, value in known.items()}
        deciding = {name for name in words if _last(name) in identity and name not in _IN_COLUMNS}
        return cls({name: word for name, word in words.items() if name in deciding}, words)

    @property
    def key(self) -> tuple[tuple[str, str], ...]:
        """Equal for runs that differ in nothing that decides, save label, preset, epochs, tasks and seed."""
        return tuple(self.options.items())

    def variant(self, others: Sequence[Deciding]) -> str:
        """What differs from some of `others`, `rank=8`, by the last part of names where that is clear."""
        names = sorted({name for each in (self, *others) for name in each.options})
        differing = [name for name in names if any(each.all.get(name) != self.all.get(name) for each in others)]
        last = [_last(name) for name in differing]
        short = [part if last.count(part) == 1 else name for name, part in zip(differing, last, strict=True)]
        return ", ".join(f"{word}={self.all.get(name, 'unset')}" for word, name in zip(short, differing, strict=True))


def _leaves(options: Mapping[str, Any], seed: int | None = None, above: str = "") -> Iterable[tuple[str, Any]]:
    """Every option by its whole name, save one that repeats the seed."""
    for key, value in options.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            yield from _leaves(value, seed, f"{name}.")
        elif key != "seed" or value != seed:
            yield name, value


def _is_place(name: str, value: object) -> bool:
    """Whether an option says where it was run; `data` does where it is a path, not a name."""
    if name != "data":
        return name in _PLACE
    return isinstance(value, str) and (
        value.startswith((".", "~")) or any(kind(value).is_absolute() for kind in (PurePosixPath, PureWindowsPath))
    )


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _spelled(value: object) -> str:
    return spell(value) if isinstance(value, list) else str(value)
