"""`hypertail tune`: choose options of a strategy on validation data."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

from rich.console import Console
from tyro.conf import OmitArgPrefixes, Positional, arg

from hypertail.cli.options import typed_options, with_groups
from hypertail.cli.run import PRESET_WORDS
from hypertail.cli.shared import Machine, Reading, listed
from hypertail.errors import ConfigError
from hypertail.lab.experiments.config import RunConfig, expand_strategies
from hypertail.lab.tuning.plan import USUAL_TRIALS, How, Prune, Search
from hypertail.lab.tuning.space import check_not_fixed, check_space, default_space, parse_space
from hypertail.lab.tuning.tune import tune
from hypertail.nets.models import USUAL as MAIN_MODEL
from hypertail.nets.models import model_names
from hypertail.recipes.catalogue import usual_options
from hypertail.streams.sources.named import Augment

USUAL = "hn-3"
"""The strategy if none is named."""

_HOW = {
    "grid": "every combination of listed values",
    "random": "random ones, log-uniform in ranges",
    "tpe": "those that Optuna expects to be good, after ten random ones",
}
_PRUNE = {
    "none": "every trial is run to its end",
    "seeds": "after each seed, trials that do worse than others",
    "experiences": "after each experience of the first seed, the worse half",
}


@dataclass(frozen=True)
class Data:
    """What is learned of the stream, and what is held out of it."""

    experiences: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: all)")] = None
    """Learn only the first so many experiences."""
    classes_per_experience: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: the stream's)")] = None
    """Classes in each experience."""
    image_size: Annotated[int | None, arg(metavar="PIXELS", help_behavior_hint="(default: the stream's)")] = None
    """Images are brought to this many pixels a side."""
    images_per_class: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: all)")] = None
    """Learn at most so many training images of each class, chosen by the seed; test images stay as they are."""
    augment: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: what fits the stream)")] = None
    """Training images: none (as they are), crop (at random), or crop-flip (and mirrored: not for digits and signs)."""
    validation: Annotated[float, arg(metavar="SHARE")] = 0.1
    """Share of the training data to hold out; trials are compared on it."""
    report_on: Annotated[str | None, arg(metavar="STREAM", help_behavior_hint="(default: only say how)")] = None
    """In the end, run the chosen options on all training data of this stream, measured on its test data."""


@dataclass(frozen=True)
class Tune:
    """Choose options on held-out training data: a run for each trial, one table.

    It ends with the command that uses the best. Needs pip install 'hypertail[tune]'.

    Example: hypertail tune digits --strategy hn-3 --try penalty-weight=0.01,0.05
    """

    stream: Annotated[
        Positional[str], arg(metavar="STREAM", help="What to learn, as for `hypertail run`.", help_behavior_hint="")
    ]
    strategy: Annotated[str, arg(metavar="NAME")] = USUAL
    """The strategy, with its depth: hn-3, replay-2, separate-4, hn-f, naive."""
    tries: Annotated[
        tuple[str, ...],
        arg(
            name="try",
            metavar="OPTION=VALUES [OPTION=VALUES ...]",
            help="Values of each option of the strategy: penalty-weight=0.01,0.05 mlp=50x32,128x64 "
            "curvature=true,false; or, for random and tpe, a range: hyper-lr=1e-4..1e-2.",
            help_behavior_hint="(default: what the strategy says, around its usual values)",
        ),
    ] = ()
    search: Annotated[How, arg(metavar="HOW", help=f"What is tried:{listed(_HOW)}")] = "grid"
    trials: Annotated[
        int | None, arg(metavar="N", help_behavior_hint=f"(default: all of a grid, else {USUAL_TRIALS})")
    ] = None
    """Number of trials, those in the folder included."""
    prune: Annotated[Prune, arg(metavar="WHEN", help=f"What is given up early:{listed(_PRUNE)}")] = "none"
    objective: Annotated[str, arg(metavar="NAMES")] = "aca"
    """What is pursued, joined by commas: aca, and forgetting, bytes (kept) or seconds for a Pareto front."""
    tolerance: Annotated[float, arg(metavar="POINTS")] = 0.0
    """Of the trials within so many points of the highest ACA, choose the smallest, as the paper did."""
    jobs: Annotated[int, arg(metavar="N")] = 1
    """Processes that run trials, each with --threads CPU threads."""
    model: Annotated[str, arg(metavar="NAME", help=f"Main model:{listed(model_names())}")] = MAIN_MODEL
    seeds: Annotated[tuple[int, ...], arg(metavar="S [S ...]")] = (0,)
    """Every trial is run with each."""
    epochs: Annotated[int, arg(metavar="N")] = 10
    """Passes over the training data of each experience (the first may have its own, --trunk-epochs)."""
    batch_size: Annotated[int, arg(metavar="N")] = 64
    """Images per step."""
    preset: Annotated[str, arg(metavar="NAME", help=f"Values of options not tried:{listed(PRESET_WORDS)}")] = "tuned"
    data: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: $HYPERTAIL_DATA)")] = None
    """Folder of local datasets, DIR/OWNER/NAME as on the hub; what is not there is downloaded."""
    out: Annotated[Path, arg(metavar="DIR")] = Path("tuning")
    """Folder of the record and of the trials; trials finished there before are not run again."""
    measured: Annotated[OmitArgPrefixes[Data], arg(name="data and measurement")] = Data()
    """What is learned of the stream, and what is held out of it."""
    reading: OmitArgPrefixes[Reading] = Reading()  # noqa: RUF009 - frozen
    """How data is read."""
    machine: OmitArgPrefixes[Machine] = Machine()  # noqa: RUF009 - frozen
    """Where it runs and what it may use."""


def options(args: Sequence[str]) -> type[Tune]:
    """The options there are, with those of the strategy among `args`; the defaults are those of the preset."""
    if "halving" in args:
        raise ConfigError(
            "option --search",
            required=f"one of {', '.join(_HOW)}",
            found="halving, its name in earlier versions",
            hint="Use --search random --prune experiences, or --search tpe with it.",
        )
    return with_groups(Tune, args, (USUAL,))


def search_of(command: Tune) -> Search:
    """The search that a command asks for.

    Raises:
        ConfigError: a value out of range, or options that do not go together.
    """
    measured = command.measured
    (strategy, depth), *_ = expand_strategies([command.strategy], ("3",))
    base = RunConfig(
        stream=command.stream,
        strategy=strategy,
        depth=depth,
        model=command.model,
        preset=command.preset,
        epochs=command.epochs,
        batch_size=command.batch_size,
        experiences=measured.experiences,
        validation=measured.validation,
        measure_on="validation",
        image_size=measured.image_size,
        classes_per_experience=measured.classes_per_experience,
        images_per_class=measured.images_per_class,
        augment=cast(Augment | None, measured.augment),  # checked there
        options=usual_options(strategy, command.preset).updated(typed_options(command)),
    )
    space = parse_space(command.tries)
    if space:
        check_space(space, base)
        check_not_fixed(space, base)
    return Search(
        base,
        space or default_space(base),
        command.seeds,
        command.search,
        command.trials,
        command.prune,
        tuple(name.strip() for name in command.objective.split(",")),
        command.tolerance / 100,
    )


def execute(command: Tune, console: Console, line: str) -> None:
    """Run the trials; print the table and the command that uses the best."""
    place = command.machine.place(command.reading.place(command.data), line)
    search = search_of(command)
    search.check()
    tune(
        search,
        command.out,
        console,
        place.settle(),
        jobs=command.jobs,
        report_on=command.measured.report_on,
    )


def stopped(given: Sequence[str]) -> str:
    """What to type after an interrupted `hypertail given...`."""
    return f"stopped; the same command goes on where it was: {shlex.join(['hypertail', *given])}"
