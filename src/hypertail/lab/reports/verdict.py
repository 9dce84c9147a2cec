"""The verdict: which method is best on some data, by how much, and at how many bytes a task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hypertail.errors import ConfigError
from hypertail.lab.experiments.describe import unusual
from hypertail.lab.experiments.library import options_of
from hypertail.lab.records.runfile import RunFile
from hypertail.lab.reports.conditions import Conditions, by_conditions
from hypertail.lab.reports.groups import Group, Stat, group_runs
from hypertail.lab.reports.paired import Difference, paired, why_unpaired
from hypertail.recipes.catalogue import known_recipe

_ALL_DATA = "joint"
_BUFFER = "buffer"
"""Name of the part of the bytes kept that is old data."""

Mark = Literal["best", "within spread", "beyond spread", "spread unknown", "not paired", "reference"]


@dataclass(frozen=True)
class Method:
    """One method under one set of conditions: the runs that differ in their seeds alone.

    Attributes:
        group: the runs.
        name: the label, with the options that set it apart.
        aca: accuracy at the end (0..1).
        forgetting: of it (0..1); None where it was not measured.
    """

    group: Group
    name: str
    aca: Stat
    forgetting: Stat | None

    @property
    def bytes_a_task(self) -> float:
        """What is kept between tasks, the frozen trunk excepted, divided by the number of tasks: shared and own."""
        return self.group.mean(lambda run: run.bytes_kept / len(run.tasks))

    @property
    def own_bytes(self) -> float | None:
        """What one more task was seen to add; None where that was not recorded, or room was made ahead for all tasks.

        A hypernetwork is made for all tasks of the stream at once, and what belongs to one task alone is among it.
        """
        if self.is_hypernetwork or any(len(run.bytes_per_experience) < 2 for run in self.group.runs):
            return None
        return self.group.mean(_added)

    @property
    def is_hypernetwork(self) -> bool:
        """Whether weights are generated."""
        return self._recipe == "hn" or self.group.first.hypernetwork_parameters is not None

    @property
    def old_data(self) -> float:
        """Bytes of old images or features that are stored."""
        return self.group.mean(lambda run: run.bytes_kept_parts.get(_BUFFER, 0))

    @property
    def keeps_data(self) -> bool:
        """Whether old images or features are stored."""
        return self.old_data > 0

    @property
    def sees_all_data(self) -> bool:
        """Whether it learns all tasks at once: a reference, and no candidate."""
        return self._recipe == _ALL_DATA

    @property
    def is_upper(self) -> bool:
        """Whether it is an upper reference: all tasks at once, or one stored tail for each."""
        recipe = known_recipe(self.group.first.strategy)
        return recipe is not None and recipe.role == "upper"

    @property
    def _recipe(self) -> str:
        recipe = known_recipe(self.group.first.strategy)
        return self.group.first.strategy if recipe is None else recipe.name


def _added(run: RunFile) -> float:
    """Bytes that each task after the first added."""
    sizes = run.bytes_per_experience
    return (sizes[-1] - sizes[0]) / (len(sizes) - 1)


@dataclass(frozen=True)
class Rival:
    """A method beside the best one.

    Attributes:
        method: this one.
        difference: of its accuracy to the best, seed by seed; None where no two runs are a pair.
        gap: the difference of the two means, for where there is no pair.
        unpaired: why there is none; empty where there is one.
    """

    method: Method
    difference: Difference | None
    gap: float
    unpaired: str

    @classmethod
    def of(cls, method: Method, best: Method) -> Rival:
        """`method` beside `best`."""
        difference = paired(method.group, best.group)
        unpaired = why_unpaired(method.group, best.group) if difference is None else ""
        return cls(method, difference, method.aca.mean - best.aca.mean, unpaired)

    @property
    def by(self) -> float:
        """By how much it differs: the mean of the paired differences, or where there are none that of the means."""
        return self.gap if self.difference is None else self.difference.mean

    @property
    def ahead(self) -> bool:
        """Whether it is more accurate, beyond the spread of the paired differences where that is known."""
        return self.by > 0 and (self.difference is None or self.difference.beyond is not False)


@dataclass(frozen=True)
class Verdict:
    """What finished runs under the same conditions say.

    Attributes:
        conditions: what they share.
        methods: with an accuracy at the end, the best first.
        unmeasured: names of those without.
    """

    conditions: Conditions
    methods: tuple[Method, ...]
    unmeasured: tuple[str, ...]

    @property
    def candidates(self) -> tuple[Method, ...]:
        """All but those that see all data at once. One stored tail for each task is something one may use."""
        return tuple(method for method in self.methods if not method.sees_all_data)

    @property
    def best(self) -> Method | None:
        """The highest mean accuracy; of equal ones the one with fewer bytes. None where there is no candidate."""
        return next(iter(self.candidates), None)

    @property
    def runs(self) -> tuple[RunFile, ...]:
        """The runs of all methods."""
        return tuple(run for method in self.methods for run in method.group.runs)

    def rival(self, method: Method) -> Rival | None:
        """A method beside the best; None for the best itself."""
        return None if self.best is None or method is self.best else Rival.of(method, self.best)

    def mark(self, method: Method) -> Mark:
        """How it stands to the best, in two words."""
        if method.sees_all_data:
            return "reference"
        rival = self.rival(method)
        if rival is None:
            return "best"
        if rival.difference is None:
            return "not paired"
        beyond = rival.difference.beyond
        return "spread unknown" if beyond is None else "beyond spread" if beyond else "within spread"

    @property
    def without_old_data(self) -> tuple[Method, ...]:
        """The candidates that store no old data, the best first."""
        return tuple(method for method in self.candidates if not method.keeps_data)

    @property
    def front(self) -> tuple[Method, ...]:
        """Of the candidates without old data those that are ahead of what takes fewer bytes a task, cheapest first.

        Its mean is higher than that of every cheaper one, and it is ahead of the last of these that was kept by more
        than the spread of their paired differences where that is known.
        """
        kept: list[Method] = []
        highest = float("-inf")
        for method in sorted(self.without_old_data, key=lambda method: (method.bytes_a_task, -method.aca.mean)):
            if method.aca.mean > highest and (not kept or Rival.of(method, kept[-1]).ahead):
                kept.append(method)
            highest = max(highest, method.aca.mean)
        return tuple(kept)

    @property
    def hypernetwork(self) -> Method | None:
        """The best hypernetwork that stores no old data."""
        return next((method for method in self.candidates if method.is_hypernetwork and not method.keeps_data), None)

    @property
    def other(self) -> Method | None:
        """The best that is no hypernetwork, stores no old data and is no upper reference."""
        fitting = [method for method in self.candidates if not (method.is_hypernetwork or method.is_upper)]
        return next((method for method in fitting if not method.keeps_data), None)

    @property
    def separate(self) -> Method | None:
        """The best that stores a tail for each task."""
        return next((method for method in self.candidates if method.is_upper), None)

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it: accuracies in 0..1, bytes; differences are to the best."""
        return {
            "conditions": {
                "stream": self.conditions.stream,
                "tasks": self.conditions.tasks,
                "classes_a_task": list(self.conditions.classes),
                "images_a_class": self.conditions.images,
                "epochs": self.conditions.epochs,
                **dict(self.conditions.others),
            },
            "best": None if self.best is None else self.best.name,
            "best_below_bytes_a_task": [method.name for method in self.front],
            "methods": [self._method_json(method) for method in self.methods],
            "not_measured": list(self.unmeasured),
        }

    def _method_json(self, method: Method) -> dict[str, Any]:
        rival = self.rival(method)
        difference = None if rival is None else rival.difference
        return {
            "name": method.name,
            "seeds": list(method.group.seeds),
            "aca": {"mean": method.aca.mean, "std": method.aca.std},
            "forgetting": None if method.forgetting is None else method.forgetting.mean,
            "bytes_a_task": method.bytes_a_task,
            "own_bytes_a_task": method.own_bytes,
            "bytes_of_old_data": method.old_data,
            "hypernetwork": method.is_hypernetwork,
            "difference": None
            if difference is None
            else {
                "mean": difference.mean,
                "std": difference.std,
                "n": difference.n,
                "beyond": difference.beyond,
                "trunk_trained_again": difference.trained_again,
            },
            "mark": self.mark(method),
        }


def verdicts(runs: Iterable[RunFile]) -> list[Verdict]:
    """One verdict for each set of conditions among finished runs."""
    return [_verdict(conditions, alike) for conditions, alike in by_conditions(runs)]


def _verdict(conditions: Conditions, runs: Sequence[RunFile]) -> Verdict:
    groups = group_runs(runs)
    methods, unmeasured = [], []
    for group, name in zip(groups, _names(groups), strict=True):
        aca = group.stat("aca")
        if aca is None:
            unmeasured.append(name)
        else:
            methods.append(Method(group, name, aca, group.stat("forgetting")))
    methods.sort(key=lambda method: (-method.aca.mean, method.bytes_a_task))
    return Verdict(conditions, tuple(methods), tuple(unmeasured))


def _names(groups: Sequence[Group]) -> list[str]:
    """The label, with an unusual preset, and where several have it the options that tell them apart."""
    presets = Counter(group.first.preset for group in groups)
    ((usual, _),) = presets.most_common(1)
    names = [""] * len(groups)
    for label in dict.fromkeys(group.first.label for group in groups):
        mates = [index for index, group in enumerate(groups) if group.first.label == label]
        options = _options([groups[index] for index in mates])
        for index, words in zip(mates, options, strict=True):
            preset = groups[index].first.preset
            known = ", ".join(part for part in (preset if preset != usual else "", words) if part)
            names[index] = f"{label} ({known})" if known else label
    return names if len(set(names)) == len(names) else [group.name for group in groups]


def _options(groups: Sequence[Group]) -> list[str]:
    """What tells groups of one label apart, in the fewer words: what is not as in the preset, or what differs."""
    variants = [group.variant.replace("_", "-").replace("=", " ") for group in groups]
    try:
        parts = [unusual(options_of(group.first)) for group in groups]
    except ConfigError:  # options of the user's own
        return variants
    shared = set.intersection(*map(set, parts))  # what all have tells nothing
    short = [", ".join(part for part in each if part not in shared) for each in parts]
    told_apart = len({(group.first.preset, words) for group, words in zip(groups, short, strict=True)}) == len(groups)
    return short if told_apart and max(map(len, short)) <= max(map(len, variants)) else variants
