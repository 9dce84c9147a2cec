"""The command line: `hypertail run | info | report | quickstart`."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from rich.console import Console
from tyro.conf import OmitArgPrefixes, Positional, arg

from hypertail.errors import HypertailError
from hypertail.lab.commands import print_info, print_tables, quickstart, report, run_all
from hypertail.lab.config import STRATEGIES, RunConfig, expand, parse_depth
from hypertail.lab.environment import choose_device
from hypertail.lab.info import describe
from hypertail.lab.method import Method
from hypertail.lab.presets import PRESETS, preset
from hypertail.lab.run import Existing
from hypertail.streams import STREAMS
from hypertail.training.trainer import Split


@dataclass(frozen=True)
class Run:
    """Learn a stream with one or more strategies, depths and seeds: one run directory each and one table."""

    stream: Annotated[Positional[str], arg(help="One of: " + ", ".join(STREAMS) + ".")]
    strategy: Annotated[
        tuple[str, ...],
        arg(help=f"Any of {', '.join(STRATEGIES)}; hn-3, lr-2, separate-4, hn-f carry their own depth."),
    ] = ("hn", "separate", "naive")
    depth: Annotated[tuple[str, ...], arg(help="Frozen residual blocks, 0 to 4; full is 0 (HN-F).")] = ("3",)
    seeds: tuple[int, ...] = (0,)
    """Each seed is a run of its own: class order, initialisation, batches and augmentation follow from it."""
    epochs: int = 10
    """Passes over the training data of each experience."""
    preset: Annotated[str, arg(help=f"{', '.join(PRESETS)}: defaults of the method's switches below.")] = (
        "tuned"
    )
    data: Path | None = None
    """Folder of local datasets, DATA/OWNER/NAME as on the hub; default $HYPERTAIL_DATA, else they are downloaded."""
    out: Path = Path("runs")
    """Folder of the run directories."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    existing: Existing = "error"
    """A run directory that exists: error; reuse it if finished and continue it if not; or replace it."""
    batch_size: int = 64
    """Images per step."""
    experiences: int | None = None
    """Learn only the first so many."""
    classes_per_experience: int | None = None
    """Other than the stream's own."""
    image_size: int | None = None
    """Other than the stream's own, in pixels."""
    validation: float = 0.0
    """Share of the training data to hold out."""
    measure_on: Split = "test"
    """Measure accuracies on test data, or on the validation split to choose hyper-parameters."""
    views: int | None = None
    """Distinct augmentations per experience, whose trunk features are cached; default: a new one each epoch."""
    cache_bytes: int | None = None
    """Memory for cached inputs; default: a quarter of what is free."""
    eval_every: int = 0
    """Also measure accuracies every so many epochs, for curves."""
    threads: int | None = None
    """CPU threads; default: torch's choice."""
    method: OmitArgPrefixes[Method] = Method()  # noqa: RUF009 - frozen
    """The method's switches; defaults come from the preset."""


@dataclass(frozen=True)
class Info:
    """Parameters of trunk, tail and hypernetwork, and bytes kept between tasks (Tables 3 and 6)."""

    depth: str = "3"
    """Frozen residual blocks, 0 to 4; full is 0."""
    tasks: int = 20
    """T, tasks of the stream."""
    classes: int = 5
    """C, classes generated per task."""
    image_size: int = 32
    """Pixels a side, for the latent-replay exemplar."""
    channels: int = 3
    """Channels of the images."""
    buffer: int = 200
    """Exemplars of latent replay."""
    preset: Annotated[str, arg(help=f"Sizes of the hypernetwork: {', '.join(PRESETS)}.")] = "printed"
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class Report:
    """One HTML file with the table, figures and details of finished runs."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(help="run.json files, or folders that hold them.")]
    out: Path = Path("report.html")
    """The file to write."""
    overwrite: bool = False
    """Replace the file if it exists."""


@dataclass(frozen=True)
class Quickstart:
    """Compare six strategies on real handwritten digits in about two minutes."""

    out: Path = Path("quickstart")
    """Folder of the run directories and the report; made anew each time."""
    epochs: int = 10
    """Passes over the training data of each experience."""
    seeds: tuple[int, ...] = (0,)
    """One run of every strategy for each."""


DESCRIPTION = "Continual learning with partial hypernetworks."


def parse(args: Sequence[str]) -> Run | Info | Report | Quickstart:
    """The command that `args` spell; leaves with a message where they do not."""
    default_run = Run(stream=tyro.MISSING, method=preset(_preset_of(args)))
    command = (
        Annotated[Run, tyro.conf.subcommand("run", default=default_run)]
        | Annotated[Info, tyro.conf.subcommand("info")]
        | Annotated[Report, tyro.conf.subcommand("report")]
        | Annotated[Quickstart, tyro.conf.subcommand("quickstart")]
    )
    return tyro.cli(command, args=list(args), prog="hypertail", description=DESCRIPTION)


def _preset_of(args: Sequence[str]) -> str:
    # the preset decides the defaults of the other options, so that it is looked for first
    for place, text in enumerate(args):
        if text == "--preset" and place + 1 < len(args):
            return args[place + 1]
        if text.startswith("--preset="):
            return text.partition("=")[2]
    return "tuned"


def _run(command: Run, console: Console, line: str) -> None:
    if command.threads is not None:
        torch.set_num_threads(command.threads)
    base = RunConfig(
        stream=command.stream,
        strategy="naive",
        preset=command.preset,
        epochs=command.epochs,
        batch_size=command.batch_size,
        experiences=command.experiences,
        validation=command.validation,
        measure_on=command.measure_on,
        image_size=command.image_size,
        classes_per_experience=command.classes_per_experience,
        views=command.views,
        eval_every=command.eval_every,
        method=command.method,
    )
    configs = expand(command.strategy, command.depth, command.seeds, base)
    runs = run_all(
        configs,
        command.out,
        console,
        data=command.data,
        device=choose_device(command.device),
        existing=command.existing,
        cache_bytes=command.cache_bytes,
        line=line,
    )
    print_tables(runs, console)
    places = " ".join(shlex.quote(str(command.out / config.run_name)) for config in configs)
    console.print(f"pictures: hypertail report {places}", soft_wrap=True, highlight=False)


def _info(command: Info, console: Console) -> None:
    info = describe(
        parse_depth(command.depth),
        tasks=command.tasks,
        classes=command.classes,
        image_size=command.image_size,
        channels=command.channels,
        buffer=command.buffer,
        method=preset(command.preset),
    )
    if command.json:
        print(json.dumps(info.to_json()))
    else:
        print_info(info, console)


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of the command `hypertail`; errors that users can mend are printed without a traceback."""
    given = list(sys.argv[1:] if args is None else args)
    console, complaints = Console(), Console(stderr=True)
    line = shlex.join(["hypertail", *given])
    try:
        command = parse(given)
        match command:
            case Run():
                _run(command, console, line)
            case Info():
                _info(command, console)
            case Report():
                report(command.runs, command.out, console, overwrite=command.overwrite)
            case Quickstart():
                quickstart(command.out, command.epochs, command.seeds, console, line)
    except HypertailError as error:
        complaints.print(f"[bold red]error:[/] {error}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        complaints.print(
            "stopped; --existing reuse continues after the last finished experience", highlight=False
        )
        sys.exit(130)
