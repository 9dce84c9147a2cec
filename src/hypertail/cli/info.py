"""`hypertail info`: sizes of trunk, tail and hypernetwork."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table
from tyro.conf import arg

from hypertail.cli.run import PRESET_WORDS
from hypertail.cli.shared import listed
from hypertail.lab.experiments.sizes import Info as Sizes
from hypertail.lab.experiments.sizes import describe
from hypertail.lab.reports.tables import human_bytes
from hypertail.nets.models import USUAL, model_names
from hypertail.recipes.catalogue import parse_depth, usual_options


@dataclass(frozen=True)
class Info:
    """Parameters of trunk, tail and hypernetwork, and bytes kept between tasks."""

    depth: Annotated[str, arg(metavar="K")] = "3"
    """Frozen blocks, 0 to 4 of slim ResNet-18; full is 0 (HN-F)."""
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
    preset: Annotated[str, arg(metavar="NAME", help=f"Sizes of the hypernetwork:{listed(PRESET_WORDS)}")] = "printed"
    model: Annotated[str, arg(metavar="NAME", help=f"Main model:{listed(model_names())}")] = USUAL
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print JSON, with the key hypernetwork_parameters among others."""


def execute(command: Info, console: Console, line: str) -> None:
    """Print the sizes, as a table or as JSON."""
    info = describe(
        parse_depth(command.depth),
        tasks=command.tasks,
        classes=command.classes,
        image_size=command.image_size,
        channels=command.channels,
        buffer=command.buffer,
        options=usual_options("hn", command.preset),
        model=command.model,
    )
    if command.json:
        print(json.dumps(info.to_json()))
    else:
        console.print(_table(info))


def _table(info: Sizes) -> Table:
    table = Table(title=f"depth {info.depth}, {info.tasks} tasks of {info.classes} classes, {info.image_size} pixels")
    table.add_column("")
    table.add_column("parameters", justify="right")
    table.add_column("kept between tasks", justify="right")
    table.add_row("trunk (frozen, shared)", f"{info.trunk_parameters:,}", "")
    table.add_row("tail (one task)", f"{info.tail_parameters:,}", "")
    table.add_row("hypernetwork", f"{info.hypernetwork_parameters:,}", human_bytes(info.hypernetwork_bytes))
    table.add_row("normalisation statistics, all tasks", "", human_bytes(info.statistics_bytes))
    table.add_row("instead: one stored tail per task", "", human_bytes(info.separate_bytes))
    shape = "×".join(map(str, info.exemplar_shape))
    table.add_row(f"instead: {info.buffer} replay exemplars of {shape}", "", human_bytes(info.buffer_bytes))
    return table
