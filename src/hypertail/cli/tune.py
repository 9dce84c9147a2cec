"""`hypertail tune`: choose hyper-parameters on validation data."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from tyro.conf import OmitArgPrefixes, Positional, arg

from hypertail.cli import run
from hypertail.environment import choose_device, use_threads
from hypertail.lab.experiments.config import RunConfig, expand_strategies
from hypertail.lab.tuning.searchspace import default_space, parse_space
from hypertail.lab.tuning.tune import DRAWN, Search, check_space, tune
from hypertail.recipes.method import Method
from hypertail.recipes.presets import PRESETS


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
    views: Annotated[int | None, arg(metavar="N")] = 5
    """Augmentations of each experience that are drawn once, behind a frozen trunk, and reused in turn; None: a new one
    each epoch."""
    validation: Annotated[float, arg(metavar="SHARE")] = 0.1
    """Share of the training data to hold out; trials are compared on it."""


@dataclass(frozen=True)
class Tune:
    """Choose hyper-parameters on held-out training data: a run for each trial, one table, the best command.

    Example: hypertail tune digits --strategy hn-3 --try penalty-weight=0.01,0.05,0.2 embedding=16,32
    """

    stream: Annotated[
        Positional[str], arg(metavar="STREAM", help="What to learn, as for `hypertail run`.", help_behavior_hint="")
    ]
    strategy: Annotated[str, arg(metavar="NAME")] = "hn-3"
    """Who learns it; the name carries its depth: hn-3, lr-2, separate-4, hn-f, naive."""
    tries: Annotated[
        tuple[str, ...],
        arg(
            name="try",
            metavar="SWITCH=VALUES [SWITCH=VALUES ...]",
            help="Values of each switch of the method (hypertail run --help lists them): penalty-weight=0.01,0.05 "
            "mlp=50x32,128x64 curvature=true,false; or a range, for random draws: hyper-lr=1e-4..1e-2.",
            help_behavior_hint="(default: learning rate, penalty weight and embedding size around their usual values)",
        ),
    ] = ()
    search: Search = "grid"
    """grid: all combinations; random: draws from them, log-uniform in ranges; halving: all (or --trials draws) on a few
    experiences, the better half of them on twice as many, and so on."""
    trials: Annotated[
        int | None, arg(metavar="N", help_behavior_hint=f"(default: all of a grid, {DRAWN} random ones)")
    ] = None
    """Number of draws."""
    tolerance: Annotated[float, arg(metavar="POINTS")] = 0.0
    """Of the trials within so many points of the highest ACA, choose the smallest, as the paper did."""
    seeds: Annotated[tuple[int, ...], arg(metavar="S [S ...]")] = (0,)
    """Every trial is run with each."""
    epochs: Annotated[int, arg(metavar="N")] = 10
    """Passes over the training data of each experience (the first may have its own, --trunk-epochs)."""
    batch_size: Annotated[int, arg(metavar="N")] = 64
    """Images per step."""
    preset: Annotated[str, arg(metavar="NAME", help=f"Values of the switches not tried: {', '.join(PRESETS)}.")] = (
        "tuned"
    )
    data: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: $HYPERTAIL_DATA)")] = None
    """Folder of local datasets, DIR/OWNER/NAME as on the hub; what is not there is downloaded."""
    out: Annotated[Path, arg(metavar="DIR")] = Path("tuning")
    """Folder of the record and of the trials; trials finished there before are not run again."""
    measured: Annotated[OmitArgPrefixes[Data], arg(name="data and measurement")] = Data()
    """What is learned of the stream, and what is held out of it."""
    reading: OmitArgPrefixes[run.Reading] = run.Reading()  # noqa: RUF009 - frozen
    """How data is read."""
    machine: OmitArgPrefixes[run.Machine] = run.Machine()  # noqa: RUF009 - frozen
    """Where it runs and what it may use."""
    method: OmitArgPrefixes[Method] = Method()  # noqa: RUF009 - frozen
    """Switches of the method that all trials share; the defaults shown are those of the preset."""


def default(args: Sequence[str]) -> Tune:
    """The options before any is given: the switches of the method are those of the preset among `args`."""
    return Tune(stream=tyro.MISSING, method=run.default(args).method)


def execute(command: Tune, console: Console, line: str) -> None:
    """Run the trials; print the table and the command that uses the best."""
    measured, machine = command.measured, command.machine
    (strategy, depth), *_ = expand_strategies([command.strategy], ("3",))
    base = RunConfig(
        stream=command.stream,
        strategy=strategy,
        depth=depth,
        preset=command.preset,
        epochs=command.epochs,
        batch_size=command.batch_size,
        experiences=measured.experiences,
        validation=measured.validation,
        measure_on="validation",
        image_size=measured.image_size,
        classes_per_experience=measured.classes_per_experience,
        images_per_class=measured.images_per_class,
        views=measured.views,
        method=command.method,
    )
    place = command.reading.place(command.data)
    space = parse_space(command.tries)
    check_space(space, base)
    device = choose_device(machine.device)
    use_threads(machine.threads)
    tune(
        base,
        space or default_space(base),
        command.out,
        console,
        seeds=command.seeds,
        search=command.search,
        trials=command.trials,
        tolerance=command.tolerance / 100,
        data=place,
        device=device,
        cache_bytes=machine.cache_bytes,
        speed=machine.speed,
        line=line,
    )


def stopped(given: Sequence[str]) -> str:
    """What to type after an interrupted `hypertail given...`."""
    return f"stopped; the same command goes on where it was: {shlex.join(['hypertail', *given])}"
