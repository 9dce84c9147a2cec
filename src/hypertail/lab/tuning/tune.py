"""Choose options on validation data, at stream level (Appendix F): every trial is a run like any other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.text import Text

from hypertail.errors import MissingExtraError, TrainingError, check_range
from hypertail.lab.experiments.batch import Job, Runner, check_folder
from hypertail.lab.experiments.begun import Begun, read_begun
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.console import threads_line
from hypertail.lab.experiments.directories import OPTIONS, claimed
from hypertail.lab.experiments.place import Place
from hypertail.lab.records.datarecord import DataRecord
from hypertail.lab.records.runfile import RunFile
from hypertail.lab.reports.tables import rich_table, to_rich
from hypertail.lab.reports.terminal import print_table
from hypertail.lab.tuning.importances import importances_of
from hypertail.lab.tuning.plan import Search
from hypertail.lab.tuning.record import BEST, TABLE, Found, command_for, write_record
from hypertail.lab.tuning.running import TrialListener, TrialRunner
from hypertail.lab.tuning.table import build_table, for_terminal, importance_table
from hypertail.lab.tuning.trials import Trial, best_of, find_trials
from hypertail.lab.tuning.workers import JOURNAL, Work, run_in_processes
from hypertail.streams import Stream
from hypertail.streams.report import plural


def require_optuna() -> None:
    """Make sure that Optuna is there.

    Raises:
        MissingExtraError: it is not.
    """
    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise MissingExtraError(
            "hypertail tune", required="the package optuna", found="none", hint="pip install 'hypertail[tune]'"
        ) from error


def tune(
    search: Search,
    out: Path,
    console: Console,
    place: Place = Place(),  # noqa: B008 -- immutable
    *,
    jobs: int = 1,
    report_on: str | None = None,
    load: Callable[[RunConfig], Stream] | None = None,
) -> Found:
    """Run the trials of a search and return all that its folder holds, best first.

    Trials are runs below `out / "trials"`, measured on validation data; what is finished is not run again, what is not
    goes on, and earlier trials with the same base stay in the record. After each trial `trials.json`, `trials.md` and
    `best.json` in `out` are up to date.

    Args:
        search: what to try.
        out: folder of the record and of the trials.
        console: where progress and the table are printed.
        place: where and how runs are executed.
        jobs: processes that run trials.
        report_on: a stream on which the chosen options are run in the end: on all training data, with test data.
        load: from a configuration to its stream, if streams are already loaded; with one job only.

    Raises:
        MissingExtraError: Optuna is not installed.
        ConfigError: before any training, if options do not go together, `out` holds trials of another search, or
            another search works in it.
        TrainingError: no trial finished.
    """
    search = replace(search, seeds=tuple(dict.fromkeys(search.seeds)))
    search.check()
    check_range("--jobs", jobs, 1)
    require_optuna()
    check_folder(out)
    listener = TrialListener(console, threads_line() if place.device == "cpu" else "")
    with claimed(out), listener:
        return _Tuning(search, out, listener, Runner(place, listener, load)).run(jobs, report_on)


class _Tuning:
    """One call of `tune`."""

    def __init__(self, search: Search, out: Path, listener: TrialListener, runner: Runner) -> None:
        self.search, self.out, self.folder = search, out, out / "trials"
        self.listener, self.runner = listener, runner
        self.data = runner.place.data

    def run(self, jobs: int, report_on: str | None) -> Found:
        """The whole of it."""
        from hypertail.lab.tuning.search import AskAndTell

        search = self.search
        trials = find_trials(self.folder, search)
        if report_on is not None:  # what is wrong with it is told now, not hours later
            self.runner.stream(self._reported(report_on, search.seeds[0]))
        stream = self.runner.stream(search.config({}))
        experiences, begun = len(stream), self._check_data(trials, stream)
        precisions = next((b.precisions for b in begun if b.precisions is not None), None)
        study = AskAndTell(search, experiences, self.out / JOURNAL if jobs > 1 else None, trials)
        self.listener.print(_announced(study.total, study.done, search))
        if jobs > 1 and study.done < study.total:
            count = min(jobs, study.total - study.done)
            place = replace(self.runner.place, jobs=count)
            work = Work(search, experiences, self.out.absolute(), place, precisions)
            try:
                run_in_processes(work, count, self.listener.print, self._write)
            finally:
                self._write()
        else:
            trial = TrialRunner(search, experiences, self.folder, self.runner, self.listener, precisions)
            while (proposal := study.ask()) is not None:
                trial.run(study, proposal)
                self._write()
        return self._finish(report_on)

    def _check_data(self, trials: Sequence[Trial], stream: Stream) -> list[Begun]:
        """Refuse other data than that of earlier trials, whose rows would not compare; what they say of themselves."""
        search, found = self.search, []
        for trial in trials:
            place = search.directory(self.folder, search.config(trial.changes))
            if (place / OPTIONS).is_file():
                begun = read_begun(place)
                if begun.data is not None:
                    begun.data.refuse_other(DataRecord.of(stream), f"trial {place}")
                found.append(begun)
        return found

    def _write(self) -> None:
        write_record(Found(tuple(find_trials(self.folder, self.search))), self.search, self.out, self.data)

    def _finish(self, report_on: str | None) -> Found:
        """Write the record with all that there is to say, and print it."""
        search = self.search
        trials = tuple(find_trials(self.folder, search))
        found = Found(trials, importances_of(trials, search))
        write_record(found, search, self.out, self.data)
        console = self.listener.console
        print_table(console, rich_table(for_terminal(build_table(trials, search))))
        if found.importances is not None:
            print_table(console, rich_table(importance_table(found.importances)))
        best = best_of(trials, search)
        if best is None:
            raise TrainingError(
                "choice of hyper-parameters",
                required="a trial that finished with every seed",
                found=f"{len(trials)} that did not",
                hint=f"See {self.out / TABLE}; try smaller learning rates or penalty weights.",
            )
        say = partial(console.print, soft_wrap=True)
        say(Text(f"record: {self.out / TABLE}\nbest: {search.describe(best.changes)}, in {self.out / BEST}"))
        say(Text(f"to use it: {command_for(best, search, self.data)}"))
        if report_on is not None:
            found = replace(found, report=tuple(self._report(best, report_on)))
            write_record(found, search, self.out, self.data)
            for table in to_rich(found.report):
                print_table(console, table)
        return found

    def _report(self, best: Trial, stream: str) -> list[RunFile]:
        """The chosen options on all training data of a stream, measured on test data."""
        folder, jobs = self.out / "report", []
        for seed in self.search.seeds:
            chosen = self.search.config(best.changes, seed)
            config = replace(self._reported(stream, seed), options=chosen.options)
            place = folder / self.search.directory(self.folder, chosen).parent.name / config.run_name
            title = f"report on {stream}, {self.search.describe(best.changes)}, seed {seed}"
            jobs.append(Job(config, place, title, trunks=folder / "trunks"))
        self.listener.worse = None
        return self.runner.run(jobs)

    def _reported(self, stream: str, seed: int) -> RunConfig:
        base = self.search.base
        if stream != base.stream:  # whose sizes say nothing of another
            base = replace(base, image_size=None, classes_per_experience=None, images_per_class=None)
        return replace(base, stream=stream, seed=seed, experiences=None, validation=0.0, measure_on="test")


def _announced(total: int, done: int, search: Search) -> str:
    """What is about to be run."""
    seeds = plural(len(search.seeds), "seed") if len(search.seeds) > 1 else f"seed {search.seeds[0]}"
    length = search.base.experiences
    where = "all experiences" if length is None else f"the first {plural(length, 'experience')}"
    share = f"measured on {search.base.validation:.0%} of the training data"
    earlier = f"; {done} of them done before" if done else ""
    return f"{plural(total, 'trial')} of {search.base.label}, {seeds}, {where}; {share}{earlier}"
