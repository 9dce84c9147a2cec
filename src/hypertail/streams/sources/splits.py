"""Which folders or splits of a dataset are its training and test data, by the usual spellings of their names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_KINDS = {
    "train": {"train", "training", "trn", "tr", "learn", "learning", "trainval"},
    "test": {"test", "testing", "tests", "tst", "te"},
    "validation": {"validation", "valid", "val", "validate", "vali", "va", "dev", "devel", "development"}
    | {"eval", "evaluation", "holdout", "heldout"},
}
_KIND_OF = {word: kind for kind, words in _KINDS.items() for word in words}
_FILLERS = frozenset({"set", "data", "dataset", "split", "images", "image", "imgs", "img", "folder", "samples"})
_SHORT = frozenset({"tr", "te", "va", "dev", "learn", "learning"})  # too common inside names of other things
_PREFERENCE = ("test", "valid", "validation", "val")  # what was taken first among several, and still is


@dataclass(frozen=True)
class Split:
    """A name read as a split: its kind ("train", "test", "validation") and the rest of it, as `seg` in `seg_train`."""

    name: str
    kind: str
    rest: str

    @property
    def plain(self) -> bool:
        """The name says nothing else."""
        return not self.rest


@dataclass(frozen=True)
class Splits:
    """Names read as a whole.

    Attributes:
        train: the training split, or None.
        test: what is used as test data, or None.
        unused: other training, test and validation splits.
        others: names that are no splits.
    """

    train: str | None
    test: str | None
    unused: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def both(self) -> bool:
        """There is training data and data to test on."""
        return self.train is not None and self.test is not None


def split_of(name: str) -> Split | None:
    """How `name` reads as a split, in any case and with `set`, `data` or `images` added; None if it does not.

    Example:
        >>> split_of("Training_Set")
        Split(name='Training_Set', kind='train', rest='')
    """
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold()
    text = re.sub(r"held[\s_-]out", "heldout", text)
    words = re.findall(r"[^\W\d_]+|\d+", text)
    stripped = [_without_filler(word) for word in words]
    kinds = [_KIND_OF[word] for word in stripped if word in _KIND_OF]
    if not kinds or len(set(kinds)) > 2:
        return None
    rest = [word for word in stripped if word and word not in _KIND_OF and word not in _FILLERS]
    if rest and any(word in _SHORT for word in stripped):
        return None
    return Split(name, "train" if "train" in kinds else kinds[0], " ".join(rest))


def find_splits(names: Iterable[str]) -> Splits:
    """Read names as splits: plain ones (`Train`, `test`), else such as share their rest (`seg_train`, `seg_test`).

    Validation data is used as test data where there is no test split.
    """
    every = list(names)
    read = [split for name in every if (split := split_of(name)) is not None]
    rests = {split.rest for split in read if not split.plain}
    groups = [[split for split in read if split.plain]]
    groups += [[split for split in read if split.rest == rest] for rest in sorted(rests)]
    # names with a rest are splits only in company: `train station` alone is a place
    groups = [
        group for number, group in enumerate(groups) if group and ((number == 0 and group[0].plain) or _pair(group))
    ]
    chosen = next((group for group in groups if _pair(group)), groups[0] if groups else [])
    train = [split.name for split in chosen if split.kind == "train"]
    tests = sorted((split for split in chosen if split.kind != "train"), key=_rank)
    test = tests[0].name if tests else None
    used = {name for name in (*train[:1], test) if name is not None}
    in_groups = {split.name for group in groups for split in group}
    return Splits(
        train[0] if train else None,
        test,
        tuple(name for name in every if name in in_groups and name not in used),
        tuple(name for name in every if name not in in_groups),
    )


def _pair(group: list[Split]) -> bool:
    kinds = {split.kind for split in group}
    return "train" in kinds and len(kinds) > 1


def _rank(split: Split) -> tuple[bool, int, str]:
    name = split.name.casefold()
    place = _PREFERENCE.index(name) if name in _PREFERENCE else len(_PREFERENCE)
    return split.kind != "test", place, split.name


def _without_filler(word: str) -> str:
    """`trainset` -> `train`."""
    for filler in _FILLERS:
        if word.endswith(filler) and word.removesuffix(filler) in _KIND_OF:
            return word.removesuffix(filler)
    return word
