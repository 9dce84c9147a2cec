"""Optuna's part of a search: which options to try next, and which trials to give up.

What a trial is, and what came of it, stands in its run directories. An Optuna study is made anew from them each time a
search starts, and is told of every trial in the order in which they began. The sampler draws from (number of the
trial, what is known by then) alone, so that a search that was interrupted proposes what it would have proposed.

Only `hypertail.lab.tuning.tune` and what it starts import this module: it needs the extra `tune`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner, WilcoxonPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from hypertail.errors import ConfigError
from hypertail.lab.experiments.describe import spell
from hypertail.lab.tuning.plan import OBJECTIVES, Search
from hypertail.lab.tuning.space import Range, Space, Values, combinations, listed
from hypertail.lab.tuning.trials import Trial
from hypertail.seeds import generator

BEFORE_PRUNING = 4
"""So many trials are run to their end before any is given up."""

_FOR_WILCOXON = 5
"""With fewer seeds no difference is significant before the last one."""

_NAME = "hypertail"
_DRAWS = 100


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """A search space in Optuna's terms; values that its journal cannot hold, such as pairs, are spelled."""
    return {name: _distribution(values) for name, values in space.items()}


def encoded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Option -> value, as `distributions` has the values."""
    return {name: spell(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _decoded(space: Space, parameters: Mapping[str, Any]) -> dict[str, Any]:
    pairs = {name: value for name, value in parameters.items() if name in space}
    for name, tried in space.items():
        if not isinstance(tried, Range) and isinstance(pairs[name], str):
            pairs[name] = next(value for value in tried if encoded({name: value})[name] == pairs[name])
    return pairs


def _distribution(values: Values | Range) -> BaseDistribution:
    if not isinstance(values, Range):
        return CategoricalDistribution([encoded({"": value})[""] for value in values])
    if values.whole:
        return IntDistribution(int(values.low), int(values.high), log=True)
    return FloatDistribution(values.low, values.high, log=True)


class Proposer(BaseSampler):
    """Proposes options that no trial has had, from the number of the trial and what is known of others.

    Args:
        search: says whether they are random or drawn by TPE.
    """

    def __init__(self, search: Search) -> None:
        self.search = search
        self._space = distributions(search.space)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All options are drawn together."""
        return dict(self._space)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """One value for each option.

        Raises:
            ConfigError: none was found that go together.
        """
        if "fixed_params" in trial.system_attrs:
            return {}  # it is known what is tried
        others = [t.params for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        drawn: dict[str, Any] | None = None
        for attempt in range(_DRAWS):
            drawn = self._draw(study, trial, _seed(trial.number, attempt))
            if drawn not in others and self.search.works(_decoded(self.search.space, drawn)):
                return drawn
        return self._left(others, trial.number, drawn)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Not used: all options are drawn together."""
        raise AssertionError(f"{param_name} was not drawn")

    def _draw(self, study: optuna.Study, trial: FrozenTrial, seed: int) -> dict[str, Any]:
        inner: BaseSampler = RandomSampler(seed) if self.search.how == "random" else TPESampler(seed=seed)
        known = inner.sample_relative(study, trial, inner.infer_relative_search_space(study, trial))
        drawn = {
            name: known[name] if name in known else inner.sample_independent(study, trial, name, distribution)
            for name, distribution in self._space.items()
        }
        space = self.search.space
        return {
            name: tried.nearest(drawn[name]) if isinstance(tried := space[name], Range) else drawn[name]
            for name in drawn
        }

    def _left(self, others: list[dict[str, Any]], number: int, drawn: dict[str, Any] | None) -> dict[str, Any]:
        """One of the last few combinations, which draws hardly ever find.

        Raises:
            ConfigError: there is none. Where none was found at all, what is wrong with the one drawn last.
        """
        left = [values for values in map(encoded, listed(self.search.space) or []) if values not in others]
        first = _seed(number, _DRAWS) % max(len(left), 1)
        for values in (*left[first:], *left[:first]):
            if self.search.works(_decoded(self.search.space, values)):
                return values
        if not others and drawn is not None:
            self.search.config(_decoded(self.search.space, drawn))
        raise ConfigError(
            "option --trials",
            required="as many combinations of --try that go together as there are to be trials",
            found=f"none left after {len(others)}",
            hint="Give a smaller number of trials, or more values to --try.",
        )


def _seed(*names: object) -> int:
    return int(torch.randint(2**31, (), generator=generator(0, "tune", *names)))


def pruner_of(search: Search, experiences: int) -> BasePruner:
    """What decides whether a trial is given up.

    `seeds`: by the median of other trials after as many seeds, or, where there are five seeds or more, by Wilcoxon's
    test against the best trial, seed by seed. `experiences`: by successive halving, whose first look is after a quarter
    of the stream, and after two experiences at least: with one there is nothing to forget.
    """
    if search.prune == "experiences":
        first = max(math.ceil(experiences / 4), min(2, experiences - 1), 1)
        return SuccessiveHalvingPruner(min_resource=first, reduction_factor=2)
    if search.prune == "seeds" and len(search.seeds) >= _FOR_WILCOXON:
        with _quiet():
            return WilcoxonPruner(p_threshold=0.1)
    if search.prune == "seeds":
        return MedianPruner(BEFORE_PRUNING)
    return NopPruner()


@dataclass(frozen=True)
class Proposal:
    """What is to be tried next.

    Attributes:
        number: of the trial, from 0; earlier ones in the folder are counted.
        values: of the options tried.
        trial: Optuna's handle.
    """

    number: int
    values: Mapping[str, Any]
    trial: optuna.Trial


class AskAndTell:
    """One Optuna study: asked for proposals and told what came of them. Processes may share it through a file.

    Args:
        search: what is searched.
        experiences: of the stream.
        journal: file through which processes share it; None for one process.
        trials: what was found in the run directories; None to join a study that another process made.
    """

    def __init__(
        self, search: Search, experiences: int, journal: Path | None = None, trials: Sequence[Trial] | None = None
    ) -> None:
        self.search, self._journal = search, journal
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage: BaseStorage = InMemoryStorage()
        with _quiet():
            if journal is not None:
                if trials is not None:
                    remove_journal(journal)
                # JSON lines; a file by itself locks on every system, a link or a lock of the system does not
                backend = JournalFileBackend(str(journal), JournalFileOpenLock(str(journal)))
                storage = JournalStorage(backend)
            given: dict[str, Any] = {"sampler": Proposer(search), "pruner": pruner_of(search, experiences)}
            if trials is None:
                self.study = optuna.load_study(study_name=_NAME, storage=storage, **given)
            else:
                directions = [OBJECTIVES[name] for name in search.objectives]
                self.study = optuna.create_study(study_name=_NAME, storage=storage, directions=directions, **given)
        if trials is not None:
            self._load(sorted(trials, key=lambda trial: trial.began))

    def _load(self, trials: Sequence[Trial]) -> None:
        """Tell of what was done, and line up what was begun, and the rest of a grid."""
        values = [(trial, self.search.values(trial.changes)) for trial in trials]
        known = [(trial, own) for trial, own in values if own is not None]
        for trial, own in known:
            if trial.is_done(self.search):
                self.study.enqueue_trial(encoded(own))
                proposal = self._next()
                for step, accuracy in enumerate(trial.reports(self.search)):
                    self.give_up(proposal, step, accuracy)
                self.tell(proposal, trial)
        left = [own for trial, own in known if not trial.is_done(self.search)]
        if self.search.how == "grid":
            had = [own for _, own in known]
            left += [own for own in combinations(self.search.space) if own not in had]
        for own in left:
            self.study.enqueue_trial(encoded(own))

    @property
    def done(self) -> int:
        """Trials that have an outcome."""
        return len(self.study.get_trials(deepcopy=False, states=tuple(s for s in TrialState if s.is_finished())))

    @property
    def total(self) -> int:
        """Trials there are to be, those of earlier searches in the same folder included."""
        return max(self.search.count, len(self.study.get_trials(deepcopy=False)))

    def ask(self) -> Proposal | None:
        """The next trial, in this process alone; None where there are to be no more."""
        with self._alone():
            trials = self.study.get_trials(deepcopy=False)
            waiting = any(trial.state == TrialState.WAITING for trial in trials)
            if not waiting and (self.search.how == "grid" or len(trials) >= self.search.count):
                return None
            return self._next()

    def _next(self) -> Proposal:
        with _quiet():
            trial = self.study.ask(distributions(self.search.space))
        return Proposal(trial.number, _decoded(self.search.space, trial.params), trial)

    def give_up(self, proposal: Proposal, step: int, accuracy: float) -> bool:
        """Report the ACA after a seed or an experience (from 0), and hear whether the trial is worth no more.

        `step` counts from 0; accuracies of seeds are told to the median's rule as their mean so far.
        """
        if self.search.prune == "none":
            return False
        trial = proposal.trial
        if self.search.prune == "seeds" and len(self.search.seeds) < _FOR_WILCOXON:
            earlier = self.study.get_trials(deepcopy=False)[proposal.number].intermediate_values
            accuracy = (earlier.get(step - 1, 0.0) * step + accuracy) / (step + 1)
        # successive halving counts what a trial has used, from 1
        trial.report(accuracy, step + 1 if self.search.prune == "experiences" else step)
        with _quiet():
            worse = trial.should_prune()
        finished = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return worse and len(finished) >= BEFORE_PRUNING

    def tell(self, proposal: Proposal, trial: Trial) -> None:
        """What came of a proposal."""
        values = trial.values(self.search) if trial.is_whole(self.search) else []
        if values and all(map(math.isfinite, values)):
            self.study.tell(proposal.trial, values)
        else:
            failed = trial.failures or values
            self.study.tell(proposal.trial, state=TrialState.FAIL if failed else TrialState.PRUNED)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Within it no other process asks, so that no two are told the same."""
        lock = None if self._journal is None else JournalFileOpenLock(f"{self._journal}.ask")
        if lock is not None:
            lock.acquire()
        try:
            yield
        finally:
            if lock is not None:
                lock.release()


def remove_journal(journal: Path) -> None:
    """Remove an earlier study and what a killed process left of its locks: the run directories say all of it."""
    for path in (journal, *journal.parent.glob(f"{journal.name}.*lock*")):
        path.unlink(missing_ok=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of parts of Optuna that it calls experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
