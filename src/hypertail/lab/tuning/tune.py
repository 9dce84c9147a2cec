"""Choose hyper-parameters on validation data, at stream level (Appendix F): every trial is an ordinary run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.text import Text

from hypertail.errors import ConfigError, TrainingError
from hypertail.lab.experiments.begun import precisions_in, read_options
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.directories import OPTIONS
from hypertail.lab.experiments.identity import CONCERNS
from hypertail.lab.experiments.place import USUAL, DataPlace, stream_of
from hypertail.lab.experiments.precisions import Precisions
from hypertail.lab.experiments.progress import RunProgress
from hypertail.lab.experiments.readings import Readings
from hypertail.lab.tuning.runner import Streams, TrialRunner
from hypertail.lab.tuning.searchspace import Space, draws, grid, option, spell
from hypertail.lab.tuning.trials import (
    BEST,
    TABLE,
    Study,
    Trial,
    best_of,
    command_for,
    describe,
    find_trials,
    to_rich,
    write_record,
)
from hypertail.recipes.presets import preset
from hypertail.streams import Stream
from hypertail.training.precision import Speed

Search = Literal["grid", "random", "halving"]
DRAWN = 20
"""Trials of a random search of which the number is not given."""


def plan(space: Space, search: Search, trials: int | None = None) -> list[dict[str, Any]]:
    """The combinations of switches that a search begins with.

    `grid`: all of them. `random`: `trials` draws, without replacement. `halving`: draws if `trials` is given, or all.

    Raises:
        ConfigError: an empty space, a number of trials that is none or that a grid does not have, or a range in a grid.
    """
    if not space:
        raise ConfigError(
            "option --try",
            required="at least one switch with values",
            found="none",
            hint="Write --try penalty-weight=0.01,0.05, say, or leave --try out.",
        )
    if trials is not None and trials < 1:
        raise ConfigError("option --trials", required="1 or more", found=str(trials), hint="Give a larger number.")
    if search == "random" or (search == "halving" and trials is not None):
        return draws(space, trials or DRAWN)
    combinations = grid(space)
    if trials is not None and trials != len(combinations):
        raise ConfigError(
            "option --trials of a grid",
            required=f"all {len(combinations)} combinations of --try",
            found=str(trials),
            hint="Leave --trials out, or use --search random.",
        )
    return combinations


def rungs(trials: int, experiences: int) -> list[int]:
    """Lengths of successive halving, in experiences: each about twice the last, the final one the whole stream.

    As many as leave two trials, or more, for the whole stream, and two experiences, or more, for the first rung.

    Example:
        >>> rungs(8, 20), rungs(3, 20), rungs(8, 5)
        ([5, 10, 20], [20], [3, 5])
    """
    count = max(1, min(int(math.log2(max(trials, 1))), int(math.log2(max(experiences, 2)))))
    return [math.ceil(experiences / 2**back) for back in reversed(range(count))]


def check_space(space: Space, base: RunConfig) -> None:
    """Refuse a search over a switch without effect on the strategy, or over one that was also set to a value.

    Raises:
        ConfigError: naming the switch.
    """
    usual = preset(base.preset)
    for name in space:
        concerned = CONCERNS.get(name, (base.strategy,))
        if base.strategy not in concerned:
            raise ConfigError(
                f"switch {option(name)} in --try",
                required=f"one that decides what {base.label} learns",
                found=f"one that concerns {', '.join(concerned) or 'no strategy'} alone",
                hint="Leave it out, or use another --strategy.",
            )
        value = getattr(base.method, name)
        if value != getattr(usual, name):
            raise ConfigError(
                f"switch {option(name)}",
                required="either a fixed value or values to try",
                found=f"--{option(name)} {spell(value)} and --try {option(name)}=...",
                hint="Leave one of them out.",
            )


def tune(
    base: RunConfig,
    space: Space,
    out: Path,
    console: Console,
    *,
    seeds: Sequence[int] = (0,),
    search: Search = "grid",
    trials: int | None = None,
    tolerance: float = 0.0,
    streams: Streams | None = None,
    data: DataPlace = USUAL,
    device: torch.device | str = "cpu",
    cache_bytes: int | None = None,
    speed: Speed = "auto",
    line: str = "",
) -> list[Trial]:
    """Run the trials of a search and return all of its study found in `out`, best first.

    Trials are runs below `out / "trials"`, measured on validation data; finished and failed ones are not run again,
    and earlier ones with the same options stay in the record. After each run `trials.json`, `trials.md` and
    `best.json` in `out` are up to date.

    Args:
        base: what the trials change; a share of the training data is held out and `measure_on` is validation.
        space: switches and what to try for each.
        out: folder of the record and of the trials.
        console: where progress and the table are printed.
        seeds: each trial is run with every one.
        search: all combinations; random draws; or successive halving over experiences.
        trials: number of draws.
        tolerance: of the trials whose ACA is within so much (0..1) of the highest, the smallest is best.
        streams: from a seed to the stream of `base`, if they are at hand already.
        data: where datasets lie and how they are read.
        device: where to train.
        cache_bytes: memory for cached inputs; None for a share of what is free.
        speed: precision of the forward passes while training; `auto` is that of earlier trials, or the rule.
        line: command line, recorded in each run.

    Raises:
        ConfigError: before any training, if options do not go together or `out` holds trials with other options.
        TrainingError: every trial failed.
    """
    _check(base, out, tolerance, seeds)
    study = Study(base, tuple(dict.fromkeys(seeds)), tuple(space), tolerance)
    chosen = [replace(base, method=replace(base.method, **switches)) for switches in plan(space, search, trials)]

    readings = Readings(console)

    @lru_cache(maxsize=1)
    def stream(seed: int) -> Stream:
        return readings.show(streams(seed) if streams is not None else stream_of(replace(base, seed=seed), data))

    lengths = [base.experiences]
    if search == "halving":
        whole = base.experiences or len(stream(study.seeds[0]))
        lengths = [length if length < whole else base.experiences for length in rungs(len(chosen), whole)]
    runner = TrialRunner(study, out / "trials", stream, device=device, cache_bytes=cache_bytes, speed=speed, line=line)
    _check_earlier(runner, [replace(config, experiences=length) for config in chosen for length in lengths])
    if not all(runner.is_finished(replace(config, seed=seed)) for config in chosen for seed in study.seeds):
        # what is wrong with the data is told before anything is written
        stream(study.seeds[0])
    runner.precisions = _of_earlier(runner)
    found: list[Trial] = []
    with RunProgress(console) as progress:
        for length in lengths:
            chosen = [replace(config, experiences=length) for config in chosen]
            console.print(Text(_announced(len(chosen), length, study)), soft_wrap=True)
            for seed, (number, config) in itertools.product(study.seeds, enumerate(chosen, start=1)):
                if runner.has_failed(config):
                    continue
                words = ", ".join(f"{option(name)} {spell(getattr(config.method, name))}" for name in space)
                title = f"trial {number}/{len(chosen)}, {words}, seed {seed}"
                progress.start(title)
                said = runner.run(
                    replace(config, seed=seed), progress, lambda text: console.print(Text(text), soft_wrap=True)
                )
                console.print(Text(f"{title}: {said}"), soft_wrap=True)
                found = find_trials(runner.folder, study)
                write_record(found, study, out, data)
            if length != lengths[-1]:
                chosen = _better_half(chosen, runner, found)
            if not chosen:
                break
    found = find_trials(runner.folder, study)
    write_record(found, study, out, data)
    _report(found, study, out, console, data)
    return found


def _of_earlier(runner: TrialRunner) -> Precisions | None:
    """The precisions of earlier trials, from another machine perhaps: one rule for all that compare."""
    runs = [run for trial in find_trials(runner.folder, runner.study) for run in trial.runs]
    known = (precisions_in(run.extra) for run in runs if "precision" in run.extra)
    return next(known, None)


def _better_half(chosen: list[RunConfig], runner: TrialRunner, found: Sequence[Trial]) -> list[RunConfig]:
    """The better half of the trials of a rung, rounded up; failed ones are out."""
    base = runner.study.base
    ranked = [(trial.experiences or base.experiences, trial.changes) for trial in found if not trial.failures]
    places = {
        ranked.index(key): config
        for config in chosen
        if (key := (config.experiences, runner.switches(config))) in ranked
    }
    return [places[place] for place in sorted(places)][: math.ceil(len(chosen) / 2)]


def _announced(count: int, length: int | None, study: Study) -> str:
    """What is about to be run."""
    seeds = f"{len(study.seeds)} seeds" if len(study.seeds) > 1 else f"seed {study.seeds[0]}"
    where = "all experiences" if length is None else f"the first {length} experiences"
    trials = "1 trial" if count == 1 else f"{count} trials"
    share = f"{study.base.validation:.0%}"
    return f"{trials} of {study.base.label}, {seeds}, {where}; measured on {share} of the training data"


def _check(base: RunConfig, out: Path, tolerance: float, seeds: Sequence[int]) -> None:
    if base.measure_on != "validation":
        raise ConfigError(
            "data to choose hyper-parameters on",
            required="validation data",
            found=f"{base.measure_on} data",
            hint='Use RunConfig(..., validation=0.1, measure_on="validation").',
        )
    if not seeds:
        raise ConfigError(
            "option --seeds",
            required="at least one value",
            found="none",
            hint="Name one after --seeds, or leave it out.",
        )
    if not 0 <= tolerance < 1:
        raise ConfigError(
            "tolerance of the choice",
            required="0 to 100 points of ACA",
            found=f"{100 * tolerance:g}",
            hint="Use --tolerance 0.5, say.",
        )
    if out.exists() and not out.is_dir():
        raise ConfigError(
            f"output folder {out}", required="a folder, or nothing yet", found="a file", hint="Use another --out."
        )


def _check_earlier(runner: TrialRunner, planned: Sequence[RunConfig]) -> None:
    """Find out before the first run that a directory belongs to a search with other options."""
    for config in [replace(each, seed=seed) for each in planned for seed in runner.study.seeds]:
        directory = runner.directory(config)
        if not (directory / OPTIONS).is_file():
            continue
        earlier, now = read_options(directory / OPTIONS).identity(), config.identity()
        for name in dict.fromkeys((*earlier, *now)):
            if earlier.get(name) != now.get(name):
                raise ConfigError(
                    f"trial {directory}",
                    required=f"{option(name)} {spell(now.get(name))}, as now, to go on with it",
                    found=f"{option(name)} {spell(earlier.get(name))}",
                    hint="Use another --out, or the same options as before.",
                )


def _report(found: Sequence[Trial], study: Study, out: Path, console: Console, data: DataPlace) -> None:
    console.print(to_rich(found, study))
    best = best_of(found, study)
    if best is None:
        raise TrainingError(
            "choice of hyper-parameters",
            required="a trial that finished with every seed",
            found=f"{len(found)} that failed",
            hint=f"See {out / TABLE}; try smaller learning rates or penalty weights.",
        )
    console.print(Text(f"record: {out / TABLE}\nbest: {describe(best, study)}, in {out / BEST}"), soft_wrap=True)
    console.print(Text(f"to use it: {command_for(best, study, data)}"), soft_wrap=True)
