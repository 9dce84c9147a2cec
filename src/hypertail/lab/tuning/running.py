"""Run one trial: ordinary runs, a directory for each seed, until it is finished, has failed or is given up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from torch import Tensor

from hypertail.errors import HypertailError
from hypertail.lab.experiments.batch import Job, Runner
from hypertail.lab.experiments.console import ConsoleListener
from hypertail.lab.experiments.directories import PRUNED
from hypertail.lab.experiments.precisions import Precisions
from hypertail.lab.records.runfile import RunFile
from hypertail.lab.tuning.plan import Search
from hypertail.lab.tuning.trials import Trial, mark_failed, mark_pruned
from hypertail.streams import Stream

if TYPE_CHECKING:
    from hypertail.lab.tuning.search import AskAndTell, Proposal


class _GivenUp(Exception):  # noqa: N818 - no error
    """Ends a run after an experience; its checkpoint is kept."""


class TrialListener(ConsoleListener):
    """Prints a line for each run of a trial, and ends a run that is worth no more.

    Args:
        console: where.
        first: printed before anything else; empty for nothing.
        alone: whether it shows what was read of the data, and progress; not where it is one of several.
    """

    def __init__(self, console: Console, first: str = "", *, alone: bool = True) -> None:
        super().__init__(console, first)
        self._alone = alone
        self.accuracies: list[float] = []
        self.worse: Callable[[int, float], bool] | None = None

    def started(self, job: Job, number: int, total: int | None) -> None:
        """Forget the last run."""
        super().started(job, number, total)
        self.accuracies = []

    def progress(self, done: int, total: int, text: str) -> None:
        """Move the bar."""
        if self._alone:
            super().progress(done, total, text)

    def loaded(self, stream: Stream) -> None:
        """Print what was read."""
        if self._alone:
            super().loaded(stream)

    def learned(self, task: int, accuracies: Tensor) -> None:
        """Keep the ACA so far, and end the run if it is worth no more."""
        aca = float(accuracies.mean())
        if aca != aca:  # nothing was measured here: everything is learned at once
            return
        self.accuracies.append(aca)
        if self.worse is not None and self.worse(task, aca):
            raise _GivenUp

    def finished(self, job: Job, run: RunFile, *, reused: bool) -> None:
        """A line with accuracy, forgetting and time."""
        shares = {name: 100 * (value or 0.0) for name, value in run.metrics.items()}
        self.print(
            f"{job.title}: {job.config.measure_on} ACA {shares['aca']:.1f} %, "
            f"forgetting {shares['forgetting']:.1f} points, {run.seconds:.0f} s{', finished before' if reused else ''}"
        )

    def failed(self, job: Job, error: HypertailError) -> None:
        """A line with what went wrong, which the run directory keeps."""
        mark_failed(job.directory, job.config, str(error))
        super().failed(job, error)


@dataclass(frozen=True)
class TrialRunner:
    """Runs trials of a search in this process.

    Attributes:
        search: whose trials they are.
        experiences: of the stream.
        folder: of the trials' directories, and of the trunks that they share.
        runner: of their runs; it tells `listener`.
        listener: prints, and looks whether a run is worth no more.
        precisions: those of earlier trials, which `auto` is to mean; None for the rule.
    """

    search: Search
    experiences: int
    folder: Path
    runner: Runner
    listener: TrialListener
    precisions: Precisions | None = None

    def run(self, study: AskAndTell, proposal: Proposal) -> None:
        """Run a proposal with every seed, as far as it is worth it, and tell Optuna what came of it."""
        search, changes = self.search, self.search.changes(self.search.config(proposal.values))
        jobs = [self._job(study, proposal, seed) for seed in search.seeds]
        for job in jobs:  # it goes on where it was given up
            (job.directory / PRUNED).unlink(missing_ok=True)
        runs: list[RunFile] = []
        trial = Trial(changes)
        for index, job in enumerate(jobs):
            self.listener.worse = None
            if index == 0 and search.prune == "experiences":
                self.listener.worse = lambda task, aca: self._worse(study, proposal, task, aca)
            try:
                done = self.runner.run([job], keep_going=True)
            except _GivenUp:
                self._give_up(job, self.listener.accuracies)
                trial = Trial(changes, pruned={job.config.seed: tuple(self.listener.accuracies)})
                break
            if not done:
                trial = Trial(changes, failures={job.config.seed: "failed"})
                break
            runs += done
            trial = Trial(changes, tuple(runs))
            if search.prune == "seeds":
                worse = study.give_up(proposal, index, done[0].metrics["aca"] or 0.0)
                if worse and job is not jobs[-1]:
                    self._give_up(job, ())
                    trial = Trial(changes, tuple(runs), pruned={job.config.seed: ()})
                    break
        study.tell(proposal, trial)

    def _job(self, study: AskAndTell, proposal: Proposal, seed: int) -> Job:
        config = self.search.config(proposal.values, seed)
        words = self.search.describe(proposal.values)
        title = f"trial {proposal.number + 1}/{study.total}, {words}, seed {seed}"
        place = self.search.directory(self.folder, config)
        return Job(config, place, title, trunks=self.folder / "trunks", precisions=self.precisions)

    def _worse(self, study: AskAndTell, proposal: Proposal, task: int, aca: float) -> bool:
        # after the last experience nothing would be saved
        return study.give_up(proposal, task, aca) and task + 1 < self.experiences

    def _give_up(self, job: Job, accuracies: tuple[float, ...] | list[float]) -> None:
        mark_pruned(job.directory, accuracies)
        where = " after this seed"
        if accuracies:
            far = f"{len(accuracies)} of {self.experiences} experiences"
            where = f" after {far}, ACA {100 * accuracies[-1]:.1f} % so far"
        self.listener.print(f"{job.title}: given up{where}")
