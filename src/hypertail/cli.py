"""The command line: `hypertail run | info | report | quickstart | bench`."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.text import Text
from tyro.conf import OmitArgPrefixes, Positional, arg

from hypertail.errors import ConfigError, HypertailError
from hypertail.lab.bench import MODELS, bench
from hypertail.lab.commands import print_info, print_tables, quickstart, report, run_all
from hypertail.lab.config import STRATEGIES, RunConfig, expand, parse_depth
from hypertail.lab.environment import choose_device, own_version, use_threads
from hypertail.lab.info import describe
from hypertail.lab.method import Method
from hypertail.lab.presets import PRESETS, preset
from hypertail.lab.run import Existing
from hypertail.streams import STREAMS
from hypertail.training.trainer import Split


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
    validation: Annotated[float, arg(metavar="SHARE")] = 0.0
    """Share of the training data to hold out for validation."""
    measure_on: Split = "test"
    """Measure accuracies on test data, or on the validation data to choose hyper-parameters."""
    eval_every: Annotated[int, arg(metavar="EPOCHS", help_behavior_hint="(default: only after each experience)")] = 0
    """Also measure every so many epochs, for curves."""


@dataclass(frozen=True)
class Machine:
    """Where it runs and what it may use."""

    device: Annotated[str, arg(metavar="DEVICE")] = "auto"
    """auto (a GPU if there is one), cpu, cuda or cuda:N."""
    threads: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: torch's choice)")] = None
    """CPU threads."""
    views: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: a new one each epoch)")] = None
    """Draw only so many augmentations of each experience and keep their trunk features: faster, less varied."""
    cache_bytes: Annotated[int | None, arg(metavar="BYTES", help_behavior_hint="(default: 1/4 of what is free)")] = None
    """Memory for kept inputs; what does not fit is computed again."""


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
    machine: OmitArgPrefixes[Machine] = Machine()
    """Where it runs and what it may use."""
    method: OmitArgPrefixes[Method] = Method()  # noqa: RUF009 - frozen
    """Switches of the method; the defaults shown are those of the preset (see them all with --preset NAME --help)."""


@dataclass(frozen=True)
class Info:
    """Parameters of trunk, tail and hypernetwork, and bytes kept between tasks (Tables 3 and 6)."""

    depth: Annotated[str, arg(metavar="K")] = "3"
    """Frozen residual blocks, 0 to 4; full is 0 (HN-F)."""
    tasks: Annotated[int, arg(metavar="T")] = 20
    """Tasks of the stream."""
    classes: Annotated[int, arg(metavar="C")] = 5
    """Classes generated per task."""
    image_size: Annotated[int, arg(metavar="PIXELS")] = 32
    """Pixels a side; decides the size of a latent-replay exemplar."""
    channels: Annotated[int, arg(metavar="N")] = 3
    """Channels of the images."""
    buffer: Annotated[int, arg(metavar="N")] = 200
    """Exemplars of latent replay, for comparison."""
    preset: Annotated[str, arg(metavar="NAME", help=f"Sizes of the hypernetwork: {', '.join(PRESETS)}.")] = "printed"
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print JSON, with the key hypernetwork_parameters among others."""


@dataclass(frozen=True)
class Report:
    """One HTML file with the table, figures and details of finished runs."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN [RUN ...]")]
    """run.json files, or folders that hold them."""
    out: Annotated[Path, arg(metavar="FILE")] = Path("report.html")
    """The file to write."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace the file if it exists."""


@dataclass(frozen=True)
class Quickstart:
    """Compare six strategies on real handwritten digits in about two minutes."""

    out: Annotated[Path, arg(metavar="DIR")] = Path("quickstart")
    """Folder of the run directories and the report; made anew each time."""
    epochs: Annotated[int, arg(metavar="N")] = 6
    """Passes over the training data of each experience."""
    seeds: Annotated[tuple[int, ...], arg(metavar="S [S ...]")] = (0,)
    """One run of every strategy for each."""


@dataclass(frozen=True)
class Bench:
    """Seconds per step of every mode and model, side by side in one process (benchmarks/README.md)."""

    models: Annotated[tuple[str, ...], arg(metavar="NAME [NAME ...]")] = MODELS
    """hn-f, hn-0 to hn-4, lr-0 to lr-4, naive."""
    repeats: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: as time allows)")] = None
    """Timed steps of each."""
    threads: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: torch's choice)")] = None
    """CPU threads."""
    device: Annotated[str, arg(metavar="DEVICE")] = "cpu"
    """cpu, cuda or cuda:N."""
    quick: tyro.conf.FlagCreatePairsOff[bool] = False
    """A smoke test: few repeats, figures not to be trusted."""
    json: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: none)")] = None
    """Also write everything measured to this file."""


Command = Run | Info | Report | Quickstart | Bench
DESCRIPTION = f"Continual learning with partial hypernetworks (hypertail {own_version()})."

CONFIG = (tyro.conf.HelptextFromCommentsOff,)


def parse(args: Sequence[str]) -> Command:
    """The command that `args` spell; leaves with a message where they do not.

    Raises:
        ConfigError: an unknown preset, or an option given twice.
    """
    _refuse_repeated(args)
    default_run = Run(stream=tyro.MISSING, method=preset(_preset_of(args)))
    command = (
        Annotated[Run, tyro.conf.subcommand("run", default=default_run)]
        | Annotated[Info, tyro.conf.subcommand("info")]
        | Annotated[Report, tyro.conf.subcommand("report")]
        | Annotated[Quickstart, tyro.conf.subcommand("quickstart")]
        | Annotated[Bench, tyro.conf.subcommand("bench")]
    )
    return tyro.cli(command, args=list(args), prog="hypertail", description=DESCRIPTION, config=CONFIG)


def _preset_of(args: Sequence[str]) -> str:
    # the preset decides the defaults of the other options, so that it is looked for first
    for place, text in enumerate(args):
        if text == "--preset" and place + 1 < len(args):
            return args[place + 1]
        if text.startswith("--preset="):
            return text.partition("=")[2]
    return "tuned"


def _refuse_repeated(args: Sequence[str]) -> None:
    # the parser would take the last one and forget the others
    options = [text.partition("=")[0] for text in args if text.startswith("--")]
    for option in options:
        if options.count(option) > 1:
            raise ConfigError(
                f"option {option}",
                required="each option once",
                found=f"it is given {options.count(option)} times",
                mend=f"Give it once; an option for several values takes them together, as in {option} A B.",
            )


def _run(command: Run, console: Console, line: str) -> None:
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
        views=machine.views,
        eval_every=measured.eval_every,
        method=command.method,
    )
    configs = expand(command.strategy, command.depth, command.seeds, base)
    device = choose_device(machine.device)
    use_threads(machine.threads)
    runs = run_all(
        configs,
        command.out,
        console,
        data=command.data,
        device=device,
        existing=command.existing,
        cache_bytes=machine.cache_bytes,
        line=line,
    )
    print_tables(runs, console)
    places = " ".join(shlex.quote(str(command.out / config.run_name)) for config in configs)
    console.print(Text(f"pictures: hypertail report {places}"), soft_wrap=True)


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


def _how_to_continue(given: Sequence[str]) -> str:
    """What to type after an interrupted `hypertail given...`."""
    if given[:1] != ["run"]:
        return "stopped"
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


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of the command `hypertail`; errors that users can mend are printed without a traceback."""
    given = list(sys.argv[1:] if args is None else args)
    if given == ["--version"]:
        print(f"hypertail {own_version()}")
        return
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
            case Bench(models, n, cores, on, quick, file):
                bench(
                    console, models=models, repeats=n, threads=cores, device=on, quick=quick, json_file=file, line=line
                )
    except BrokenPipeError:
        # whoever read the output, `head` say, has gone; nothing is left to tell, and nobody
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (HypertailError, OSError) as error:
        # Text: what users typed may hold square brackets, which are no markup
        complaints.print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        complaints.print(Text(_how_to_continue(given)), soft_wrap=True)
        sys.exit(130)
