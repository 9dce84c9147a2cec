"""`hypertail run`: learn a stream with strategies, depths and seeds."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.text import Text
from tyro.conf import OmitArgPrefixes, Positional, arg

from hypertail.environment import choose_device, use_threads
from hypertail.errors import ConfigError
from hypertail.lab.experiments.batch import print_tables, run_all
from hypertail.lab.experiments.config import STRATEGIES, RunConfig, expand
from hypertail.lab.experiments.dataplace import DataPlace
from hypertail.lab.experiments.run import Existing
from hypertail.recipes.method import Method
from hypertail.recipes.presets import PRESETS, preset
from hypertail.streams import STREAMS
from hypertail.training.precision import Speed
from hypertail.training.trainer import Split

Flag = tyro.conf.FlagCreatePairsOff[bool]


def _listed(choices: dict[str, str]) -> str:
    return "".join(f"\n- {name}: {what}" for name, what in choices.items())


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
    views: Annotated[int | None, arg(metavar="N")] = 5
    """Augmentations of each experience that are drawn once, behind a frozen trunk, and reused in turn; None: a new one
    each epoch."""
    validation: Annotated[float, arg(metavar="SHARE")] = 0.0
    """Share of the training data to hold out for validation."""
    measure_on: Split = "test"
    """Measure accuracies on test data, or on the validation data to choose hyper-parameters."""
    eval_every: Annotated[int, arg(metavar="EPOCHS", help_behavior_hint="(default: only after each experience)")] = 0
    """Also measure every so many epochs, for curves."""


@dataclass(frozen=True)
class Reading:
    """How data is read."""

    image_column: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: the usual one)")] = None
    """Column of the images of a hub: dataset."""
    label_column: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: the usual one)")] = None
    """Column of the labels of a hub: dataset."""
    cache: Annotated[Flag, arg(help_behavior_hint="(default: of public datasets only)")] = False
    """Keep decoded images on disk, to start faster."""
    no_cache: Flag = False
    """Keep no decoded images on disk."""

    def place(self, root: Path | None) -> DataPlace:
        """The same, for the library, with the folder of local datasets.

        Raises:
            ConfigError: both --cache and --no-cache.
        """
        if self.cache and self.no_cache:
            raise ConfigError(
                "options --cache and --no-cache",
                required="one of them, or none",
                found="both",
                hint="Leave one of them out.",
            )
        keep = True if self.cache else False if self.no_cache else None
        return DataPlace(root, keep, self.image_column, self.label_column)


@dataclass(frozen=True)
class Machine:
    """Where it runs and what it may use."""

    device: Annotated[str, arg(metavar="DEVICE")] = "auto"
    """auto (a GPU if there is one), cpu, cuda or cuda:N."""
    threads: Annotated[int, arg(metavar="N")] = 1
    """CPU threads; results of different numbers differ in the last digits."""
    speed: Speed = "auto"
    """Precision of training: full (float32), mixed (bfloat16 forward passes), or auto: mixed on devices made for it
    where convolutions learn from images of 32 pixels a side or more."""
    cache_bytes: Annotated[int | None, arg(metavar="BYTES", help_behavior_hint="(default: 1/4 of what is free)")] = None
    """Memory for kept inputs; what does not fit goes to memory-mapped temporary files, and is computed again where the
    disk is full."""


@dataclass(frozen=True)
class Run:
    """Learn a stream with strategies, depths and seeds: a run directory each, one table.

    Example: hypertail run digits --strategy hn lr naive --depth 2 3 --seeds 0 1 2
    """

    stream: Annotated[
        Positional[str], arg(metavar="STREAM", help=f"What to learn:{_listed(STREAMS)}", help_behavior_hint="")
    ]
    strategy: Annotated[
        tuple[str, ...],
        arg(
            metavar="NAME [NAME ...]",
            help=f"Who learns it:{_listed(STRATEGIES)}\nA name may carry its depth: hn-3, lr-2, separate-4, hn-f.",
        ),
    ] = ("hn", "separate", "naive")
    depth: Annotated[tuple[str, ...], arg(metavar="K [K ...]")] = ("3",)
    """Frozen residual blocks, for the strategies with a trunk: 0 to 4; full is 0 (HN-F)."""
    seeds: Annotated[tuple[int, ...], arg(metavar="S [S ...]")] = (0,)
    """Each seed is a run of its own: class order, initialisation, batches and augmentation follow from it."""
    epochs: Annotated[int, arg(metavar="N")] = 10
    """Passes over the training data of each experience (the first may have its own, --trunk-epochs)."""
    batch_size: Annotated[int, arg(metavar="N")] = 64
    """Images per step."""
    preset: Annotated[str, arg(metavar="NAME", help=f"Values of the method's switches: {', '.join(PRESETS)}.")] = (
        "tuned"
    )
    data: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: $HYPERTAIL_DATA)")] = None
    """Folder of local datasets, DIR/OWNER/NAME as on the hub; what is not there is downloaded."""
    out: Annotated[Path, arg(metavar="DIR")] = Path("runs")
    """Folder of the run directories."""
    existing: Existing = "error"
    """If a run directory exists: error; reuse a finished run and continue an unfinished one; replace: start again."""
    measured: Annotated[OmitArgPrefixes[Data], arg(name="data and measurement")] = Data()
    """What is learned of the stream, and what is measured."""
    reading: OmitArgPrefixes[Reading] = Reading()
    """How data is read."""
    machine: OmitArgPrefixes[Machine] = Machine()
    """Where it runs and what it may use."""
    method: OmitArgPrefixes[Method] = Method()  # noqa: RUF009 - frozen
    """Switches of the method; the defaults shown are those of the preset (see them all with --preset NAME --help)."""


def default(args: Sequence[str]) -> Run:
    """The options before any is given: the switches of the method are those of the preset among `args`."""
    return Run(stream=tyro.MISSING, method=preset(_preset_of(args)))


def _preset_of(args: Sequence[str]) -> str:
    # the preset decides the defaults of the other options, so that it is looked for first
    for place, text in enumerate(args):
        if text == "--preset" and place + 1 < len(args):
            return args[place + 1]
        if text.startswith("--preset="):
            return text.partition("=")[2]
    return "tuned"


def execute(command: Run, console: Console, line: str) -> None:
    """Run every strategy, depth and seed; print the table."""
    measured, machine = command.measured, command.machine
    base = RunConfig(
        stream=command.stream,
        strategy="naive",
        preset=command.preset,
        epochs=command.epochs,
        batch_size=command.batch_size,
        experiences=measured.experiences,
        validation=measured.validation,
        measure_on=measured.measure_on,
        image_size=measured.image_size,
        classes_per_experience=measured.classes_per_experience,
        images_per_class=measured.images_per_class,
        views=measured.views,
        eval_every=measured.eval_every,
        method=command.method,
    )
    place = command.reading.place(command.data)
    configs = expand(command.strategy, command.depth, command.seeds, base)
    device = choose_device(machine.device)
    use_threads(machine.threads)
    runs = run_all(
        configs,
        command.out,
        console,
        data=place,
        device=device,
        existing=command.existing,
        cache_bytes=machine.cache_bytes,
        speed=machine.speed,
        line=line,
    )
    print_tables(runs, console)
    places = " ".join(shlex.quote(str(command.out / config.run_name)) for config in configs)
    console.print(Text(f"pictures: hypertail report {places}"), soft_wrap=True)


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
    return f"stopped; to continue after the last finished experience: {line}"
