"""`hypertail reproduce`: the paper's tables and figures, measured, beside the printed values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from tyro.conf import OmitArgPrefixes, Positional, arg

from hypertail.cli.run import PRESET_WORDS
from hypertail.cli.shared import Machine, listed
from hypertail.lab.experiments.place import DataPlace
from hypertail.lab.reproduce.reproduce import reproduce
from hypertail.lab.reproduce.setting import SCALES, Setting
from hypertail.lab.reproduce.targets import TARGETS, check_order


@dataclass(frozen=True)
class Reproduce:
    """Make tables and figures of the paper; finished runs are reused.

    Example: hypertail reproduce table2 --strategy hn-3 replay-3 --data DATA
    """

    targets: Annotated[
        Positional[tuple[str, ...]],
        arg(
            metavar="TARGET [TARGET ...]",
            help=f"What to make:{listed({name: target.title for name, target in TARGETS.items()})}",
            help_behavior_hint="",
        ),
    ]
    preset: Annotated[str, arg(metavar="NAME", help=f"Values of options:{listed(PRESET_WORDS)}")] = "tuned"
    scale: Annotated[
        str,
        arg(metavar="NAME", help=f"How long:{listed({name: scale.what for name, scale in SCALES.items()})}"),
    ] = "cpu"
    strategy: Annotated[
        tuple[str, ...],
        arg(metavar="NAME [NAME ...]", help_behavior_hint="(default: those that suit the scale)"),
    ] = ()
    """Only these rows: hn-3, lr-2, hn-f, naive; hn or lr for all their depths."""
    stream: Annotated[
        tuple[str, ...], arg(metavar="NAME [NAME ...]", help_behavior_hint="(default: those that suit the scale)")
    ] = ()
    """Only these streams, such as split-cifar100; a target that shows none of them is refused."""
    seeds: Annotated[tuple[int, ...] | None, arg(metavar="S [S ...]", help_behavior_hint="(default: the scale's)")] = (
        None
    )
    """Each seed is a run of its own."""
    epochs: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: the scale's)")] = None
    """Passes over each experience; those of the trunk stay the scale's, but at scale full."""
    data: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: $HYPERTAIL_DATA)")] = None
    """Folder of local datasets, DIR/OWNER/NAME as on the hub; what is not there is downloaded."""
    weights: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: none)")] = None
    """Weights (safetensors) of a pretrained cifar-resnet20, for what shows one beside the usual model: fewshot."""
    out: Annotated[Path, arg(metavar="DIR")] = Path("reproduced")
    """Folder of tables, figures and runs."""
    others: Annotated[
        tuple[Path, ...], arg(name="from", metavar="DIR [DIR ...]", help_behavior_hint="(default: none)")
    ] = ()
    """More folders with finished runs, which are used where they are the same runs."""
    plan: tyro.conf.FlagCreatePairsOff[bool] = False
    """Only show which runs are needed and which are finished."""
    finished: tyro.conf.FlagCreatePairsOff[bool] = False
    """Run nothing: make tables and figures of what is finished, with gaps for the rest."""
    machine: OmitArgPrefixes[Machine] = Machine()  # noqa: RUF009 - frozen
    """Where it runs and what it may use."""


def execute(command: Reproduce, console: Console, line: str) -> None:
    """Make what was asked for.

    Raises:
        ConfigError: a target stands among the values of an option.
    """
    lists: dict[str, Sequence[str | Path]] = {
        "--strategy": command.strategy,
        "--stream": command.stream,
        "--from": command.others,
    }
    check_order(command.targets, lists)
    setting = Setting(
        preset=command.preset,
        scale=command.scale,
        seeds=command.seeds,
        epochs=command.epochs,
        strategies=command.strategy,
        streams=command.stream,
        data=command.data,
        weights=command.weights,
    )
    place = command.machine.place(DataPlace(command.data), line).settle()
    reproduce(
        command.targets,
        setting,
        command.out,
        console,
        others=command.others,
        plan_only=command.plan,
        run=not command.finished,
        place=place,
    )


def stopped(given: Sequence[str]) -> str:
    """What is said of an interrupted `hypertail given...`."""
    return "stopped; what was learned is saved; the same command continues"
