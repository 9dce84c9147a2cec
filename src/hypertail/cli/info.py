"""`hypertail info`: sizes of trunk, tail and hypernetwork."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console
from tyro.conf import arg

from hypertail.lab.experiments.batch import print_info
from hypertail.lab.experiments.config import parse_depth
from hypertail.lab.experiments.sizes import describe
from hypertail.recipes.presets import PRESETS, preset


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


def execute(command: Info, console: Console, line: str) -> None:
    """Print the sizes, as a table or as JSON."""
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
