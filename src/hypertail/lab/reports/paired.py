"""Paired differences: two groups of runs, seed by seed, where all is equal that is not the strategy."""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass

from hypertail.errors import ConfigError
from hypertail.lab.experiments.library import options_of
from hypertail.lab.records.runfile import RunFile
from hypertail.lab.reports.conditions import Conditions
from hypertail.lab.reports.groups import Group, value_of
from hypertail.lab.reports.places import place_of

_DEVIATIONS = 2
"""A difference of more standard deviations than this is beyond its spread."""
_NOTHING = 1e-9
"""A difference below this is rounding: accuracies are shares of some hundred images."""

DAGGER = "†"
"""Behind a difference of runs whose trunks were trained in two places."""
TRAINED_AGAIN = (
    f"{DAGGER} Trunk trained again, on other hardware or with another torch: it may be part of the difference."
)
_GIVEN = ("weights",)
"""The trunk of a main model whose weights were given."""


@dataclass(frozen=True)
class Difference:
    """The differences of one quantity between two groups, a value for each seed that both have.

    Two strategies that learn the same tasks with the same seed meet the same classes, images and trunk. What these do
    to the accuracy is in both runs, and not in their difference: it tells more than the difference of two means does.

    Attributes:
        values: the differences.
        trained_again: whether the two of a pair had their trunks from two places (`trained_again`).
    """

    values: tuple[float, ...]
    trained_again: bool = False

    @property
    def n(self) -> int:
        """The number of seeds."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """The mean difference."""
        return statistics.fmean(self.values)

    @property
    def std(self) -> float | None:
        """The sample standard deviation of the differences (n - 1 in the denominator); None for one seed."""
        return statistics.stdev(self.values) if self.n > 1 else None

    @property
    def beyond(self) -> bool | None:
        """Whether the difference is beyond its spread: |mean| is more than two standard deviations of the differences.

        That is a plain rule, not a test: it asks whether a further seed would be likely to show the same sign. None for
        one seed, whose spread is unknown.
        """
        if self.std is None:
            return None
        return abs(self.mean) > max(_NOTHING, _DEVIATIONS * self.std)


def paired(group: Group, other: Group, quantity: str = "aca") -> Difference | None:
    """`group` minus `other`, seed by seed; None where no run of one can be compared with a run of the other.

    Runs are a pair where conditions, seed, tasks, data and trunk are the same (`obstacle`), or the trunk was trained
    again in another place, which is noted. Several runs of one seed count as one, by the mean of their differences.

    Args:
        group: runs of one strategy.
        other: runs of another one.
        quantity: a metric (0..1), `cil` or `seconds`.
    """
    values, again = [], False
    for seed, runs in group.by_seed.items():
        of_seed = []
        for run, reference in itertools.product(runs, other.by_seed.get(seed, ())):
            mine, theirs = value_of(run, quantity), value_of(reference, quantity)
            if mine is not None and theirs is not None and not obstacle(run, reference):
                of_seed.append(mine - theirs)
                again = again or trained_again(run, reference)
        if of_seed:
            values.append(statistics.fmean(of_seed))
    return Difference(tuple(values), again) if values else None


def why_unpaired(group: Group, other: Group) -> str:
    """Why `paired` finds no pair, in two or three words; empty where it finds one, or nothing was measured."""
    shared = set(group.seeds) & set(other.seeds)
    if not shared:
        return "other seeds"
    reasons = [
        obstacle(run, reference)
        for run in group.runs
        for reference in other.runs
        if run.seed == reference.seed and run.seed in shared
    ]
    return "" if "" in reasons else reasons[0]


def obstacle(run: RunFile, other: RunFile) -> str:
    """What makes two runs no pair, in two or three words; empty where they are one.

    The trunk is the same where it was trained alone, on the same data, as long, at the same rate and precision, and has
    the same digest where both runs recorded one; where one did not, `trained_again` tells what is likely. A trunk
    that was learned together with the tail is part of the strategy, and so is a model of which nothing is frozen: such
    runs share all that is outside the strategy with any other.
    """
    if run.seed != other.seed:
        return "other seed"
    if not Conditions.of(run).alike(Conditions.of(other)):
        return "other conditions"
    if run.tasks != other.tasks or (run.data and other.data and run.data.digest != other.data.digest):
        return "other data"
    mine, theirs = _trunk(run), _trunk(other)
    if mine and theirs and mine != theirs:
        return "other trunk"
    bits, others = run.extra.get("trunk"), other.extra.get("trunk")
    return "trunk trained again" if mine and theirs and bits and others and bits != others else ""


def trained_again(run: RunFile, other: RunFile) -> bool:
    """Whether the frozen trunks of two runs are two, trained alike: the second training ends with other bits.

    Their digests tell; where one of them lacks it, the places do where the runs were made (`place_of`).
    """
    mine, theirs = _trunk(run), _trunk(other)
    if not mine or not theirs or _GIVEN in (mine, theirs):
        return False
    bits, others = run.extra.get("trunk"), other.extra.get("trunk")
    return bool(bits != others) if bits and others else place_of(run) != place_of(other)


def _trunk(run: RunFile) -> tuple[object, ...]:
    """What a trunk that was trained alone depends on, beyond seed, data and conditions; empty where there is none."""
    try:
        config = options_of(run).settled()
    except ConfigError:  # options of the user's own
        return ()
    options = config.options
    if config.cut is None or not config.cut.has_trunk or options.get("trunk_training") != "alone":
        return ()
    if config.weights is not None:  # of the conditions: nothing is trained
        return _GIVEN
    epochs = options.get("trunk_epochs") or config.epochs
    own = tuple(options.get(name) for name in ("trunk_schedule", "lr", "trunk_rotations"))
    return (epochs, *own, run.extra.get("precision_of_features"))
