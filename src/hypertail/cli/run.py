"""`hypertail run`: learn a stream with strategies, depths and seeds."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, cast

from rich.console import Console
from rich.text import Text
from tyro.conf import OmitArgPrefixes, Positional, arg

from hypertail.cli.options import typed_options, with_groups
from hypertail.cli.shared import Machine, Reading, listed
from hypertail.lab.experiments.backbones import digest_of_weights
from hypertail.lab.experiments.batch import Job, check_places, run_batch
from hypertail.lab.experiments.config import RunConfig, expand
from hypertail.lab.experiments.console import ConsoleListener, threads_line
from hypertail.lab.experiments.run import Existing
from hypertail.lab.records.runfile import FILE_NAME
from hypertail.lab.reports.tables import to_rich
from hypertail.lab.reports.terminal import print_table
from hypertail.nets.models import USUAL as MAIN_MODEL
from hypertail.nets.models import model_names
from hypertail.recipes.catalogue import strategy_names
from hypertail.recipes.presets import PRESETS
from hypertail.streams import STREAMS
from hypertail.streams.sources.named import Augment
from hypertail.training.trainer import Split

USUAL = ("hn", "separate", "naive")
"""The strategies if none is named."""

PRESET_WORDS = {name: preset.what for name, preset in PRESETS.items()}


@dataclass(frozen=True)
class Data:
    """What is learned of the stream, and what is measured."""

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
    validation: Annotated[float, arg(metavar="SHARE")] = 0.0
    """Share of the training data to hold out for validation."""
    measure_on: Split = "test"
    """Measure accuracies on test data, or on the validation data to choose hyper-parameters."""
    eval_every: Annotated[int, arg(metavar="EPOCHS", help_behavior_hint="(default: only after each experience)")] = 0
    """Also measure every so many epochs, for curves."""


@dataclass(frozen=True)
class Run:
    """Learn a stream with strategies, depths and seeds: a run directory each, one table.

    Example: hypertail run digits --strategy hn replay naive --depth 2 3 --seeds 0 1 2

    Options of strategies are those of the chosen ones; of others: --strategy ewc --help, say.
    """

    stream: Annotated[
        Positional[str], arg(metavar="STREAM", help=f"What to learn:{listed(STREAMS)}", help_behavior_hint="")
    ]
    strategy: Annotated[
        tuple[str, ...],
        arg(
            metavar="NAME [NAME ...]",
            help=f"Strategies to compare:{listed(strategy_names())}\nOr with a depth: hn-3, separate-4, hn-f.",
            help_behavior_hint=f"(default: {' '.join(USUAL)})",
        ),
    ] = USUAL
    depth: Annotated[tuple[str, ...], arg(metavar="K [K ...]")] = ("3",)
    """Frozen blocks, for the strategies with a trunk: 0 to 4 of slim ResNet-18; full is 0 (HN-F)."""
    model: Annotated[str, arg(metavar="NAME", help=f"Main model:{listed(model_names())}")] = MAIN_MODEL
    seeds: Annotated[tuple[int, ...], arg(metavar="S [S ...]")] = (0,)
    """Each seed is a run of its own: class order, initialisation, batches and augmentation follow from it."""
    epochs: Annotated[int, arg(metavar="N")] = 10
    """Passes over the training data of each experience (the first may have its own, --trunk-epochs)."""
    batch_size: Annotated[int, arg(metavar="N")] = 64
    """Images per step."""
    preset: Annotated[str, arg(metavar="NAME", help=f"Values of options:{listed(PRESET_WORDS)}")] = "tuned"
    data: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: $HYPERTAIL_DATA)")] = None
    """Folder of local datasets, DIR/OWNER/NAME as on the hub; what is not there is downloaded."""
    out: Annotated[Path, arg(metavar="DIR")] = Path("runs")
    """Folder of the run directories."""
    existing: Existing = "error"
    """If a run directory exists: error; reuse a finished run and continue an unfinished one; replace: start again."""
    weights: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: train it on e_1)")] = None
    """Weights (safetensors) of a trunk that was trained elsewhere, for the main model."""
    measured: Annotated[OmitArgPrefixes[Data], arg(name="data and measurement")] = Data()
    """What is learned of the stream, and what is measured."""
    reading: OmitArgPrefixes[Reading] = Reading()  # noqa: RUF009 - frozen
    """How data is read."""
    machine: OmitArgPrefixes[Machine] = Machine()  # noqa: RUF009 - frozen
    """Where it runs and what it may use."""


def options(args: Sequence[str]) -> type[Run]:
    """The options there are, with those of the strategies among `args`; the defaults are those of the preset."""
    return with_groups(Run, args, USUAL)


def configs_of(command: Run) -> list[RunConfig]:
    """The runs that a command asks for.

    Raises:
        ConfigError: a value out of range, or options that do not go together.
    """
    measured = command.measured
    base = RunConfig(
        stream=command.stream,
        strategy="naive",
        model=command.model,
        preset=command.preset,
        epochs=command.epochs,
        batch_size=command.batch_size,
        experiences=measured.experiences,
        validation=measured.validation,
        measure_on=measured.measure_on,
        image_size=measured.image_size,
        classes_per_experience=measured.classes_per_experience,
        images_per_class=measured.images_per_class,
        augment=cast(Augment | None, measured.augment),  # checked there
        eval_every=measured.eval_every,
    )
    weights = None if command.weights is None else digest_of_weights(command.weights)
    configs = expand(command.strategy, command.depth, command.seeds, base, typed_options(command))
    return [replace(config, weights=weights) for config in configs]


def execute(command: Run, console: Console, line: str) -> None:
    """Run every strategy, depth and seed; print the table."""
    place = command.machine.place(command.reading.place(command.data), line).settle()
    place = replace(place, weights=command.weights)
    jobs = [
        Job(config, command.out / config.run_name, f"{config.label} seed {config.seed}", command.existing)
        for config in configs_of(command)
    ]
    check_places(jobs)
    with ConsoleListener(console, threads_line() if place.device == "cpu" else "") as listener:
        runs = run_batch(jobs, place, listener)
    for table in to_rich(runs):
        print_table(console, table)
    places = shlex.join(map(str, folders([job.directory for job in jobs])))
    console.print(Text(f"pictures: hypertail report {places}"), soft_wrap=True)


def folders(directories: Sequence[Path]) -> list[Path]:
    """What to name for these runs and no others: the folder that holds them where it holds no more, or each."""
    if len(directories) > 1 and len(parents := {directory.parent for directory in directories}) == 1:
        (parent,) = parents
        if {path.parent for path in parent.rglob(FILE_NAME)} == set(directories):
            return [parent]
    return list(directories)


def stopped(given: Sequence[str]) -> str:
    """What to type after an interrupted `hypertail given...`."""
    kept = list(given)
    for place, text in enumerate(kept):
        if text == "--existing" and place + 1 < len(kept):
            kept[place : place + 2] = []
            break
        if text.startswith("--existing="):
            del kept[place]
            break
    line = shlex.join(["hypertail", *kept, "--existing", "reuse"])
    return f"stopped; what was learned is saved; to continue: {line}"
