"""Parameter counts and bytes of a configuration (Tables 3 and 6)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from hypertail.errors import ConfigError
from hypertail.nets import decompose
from hypertail.nets.models import USUAL, main_model
from hypertail.recipes.build import settled
from hypertail.recipes.hypernet import Generator, generator_of
from hypertail.recipes.options import Options


@dataclass(frozen=True)
class Info:
    """Sizes of trunk, tail and hypernetwork, and of a latent-replay buffer for comparison.

    Bytes are for 32-bit numbers. `hypernetwork_bytes` are what a partial hypernetwork keeps between tasks (Table 6);
    `statistics_bytes` are the normalisation statistics of all tasks, which Table 6 leaves out; `separate_bytes` are one
    stored tail per task.
    """

    depth: int | str
    tasks: int
    classes: int
    image_size: int
    trunk_parameters: int
    tail_parameters: int
    hypernetwork_parameters: int
    hypernetwork_bytes: int
    statistics_bytes: int
    separate_bytes: int
    exemplar_shape: tuple[int, int, int]
    exemplar_bytes: int
    buffer: int
    buffer_bytes: int

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def describe(
    depth: int,
    *,
    tasks: int,
    classes: int,
    image_size: int = 32,
    channels: int = 3,
    buffer: int = 200,
    options: Options,
    model: str = USUAL,
) -> Info:
    """Count everything at one depth.

    Args:
        depth: frozen blocks; 0 is the full hypernetwork.
        tasks: T.
        classes: C, the classes generated per task.
        image_size: pixels a side.
        channels: of the images.
        buffer: exemplars of latent replay.
        options: of a hypernetwork.
        model: name of the main model.

    Raises:
        ConfigError: a number below one.
    """
    numbers = {"tasks": tasks, "classes": classes, "image-size": image_size, "channels": channels, "buffer": buffer}
    for name, value in numbers.items():
        if value < 1:
            raise ConfigError(
                f"option --{name}", required="1 or more", found=str(value), hint=f"Give --{name} a value in that range."
            )
    with torch.device("meta"):  # shapes without numbers: nothing is computed, and no random state moves
        norm = options[Generator].norm
        trunk, tail = decompose(main_model(model).build(classes, channels=channels, norm=norm), depth)
        hyper = generator_of(settled("hn", options, model, depth), tail, tasks)
        # batch normalisation has the same shapes, and none too small for it
        stages, _ = decompose(main_model(model).build(classes, channels=channels, norm="batch"), depth)
        _, *shape = stages.eval()(torch.empty(1, channels, image_size, image_size)).shape
    statistics = sum(b.numel() * b.element_size() for b in tail.buffers())
    exemplar = 4 * shape[0] * shape[1] * shape[2]
    count = _parameters(hyper)
    return Info(
        depth=depth or "full",
        tasks=tasks,
        classes=classes,
        image_size=image_size,
        trunk_parameters=_parameters(trunk),
        tail_parameters=_parameters(tail),
        hypernetwork_parameters=count,
        hypernetwork_bytes=4 * count,
        statistics_bytes=tasks * statistics,
        separate_bytes=tasks * (4 * _parameters(tail) + statistics),
        exemplar_shape=(shape[0], shape[1], shape[2]),
        exemplar_bytes=exemplar,
        buffer=buffer,
        buffer_bytes=buffer * exemplar,
    )


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
