"""Precision of the forward passes while training: full (float32), or mixed (bfloat16 where that is safe)."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from statistics import median
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from hypertail.errors import check_choice

Precision = Literal["full", "mixed"]
Speed = Literal["auto", "full", "mixed"]

GAIN = 0.75
"""Mixed precision is chosen where a step takes less than this part of the time at full precision: a gain so clear that
the noise of a busy machine does not decide."""


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The context of a training step."""
    if precision == "full":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def choose_precision(speed: Speed, module: nn.Module, inputs: Callable[[], Tensor], device: torch.device) -> Precision:
    """`full` or `mixed` as told, or for `auto` the one in which `module` is trained faster on this machine.

    Args:
        speed: what was asked for.
        module: what most of a step goes through; a copy of it is timed.
        inputs: gives a batch of its inputs, if one is needed.
        device: where.

    Raises:
        ConfigError: an unknown speed.
    """
    check_choice("speed", speed, get_args(Speed))
    if speed != "auto":
        return speed
    trial, batch = copy.deepcopy(module).to(device).train(), inputs().to(device)
    if not any(True for _ in trial.parameters()):
        return "full"
    taken: dict[Precision, list[float]] = {"full": [], "mixed": []}
    for _ in range(6):
        for precision, seconds in taken.items():
            seconds.append(_time_of_step(trial, batch, precision, device))
    # the first of each pays for what is prepared once
    return "mixed" if median(taken["mixed"][1:]) < GAIN * median(taken["full"][1:]) else "full"


def _time_of_step(module: nn.Module, batch: Tensor, precision: Precision, device: torch.device) -> float:
    synchronise: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    synchronise()
    started = time.perf_counter()
    with autocast(precision, device):
        loss = module(batch).float().square().mean()
    torch.autograd.grad(loss, list(module.parameters()), allow_unused=True)
    synchronise()
    return time.perf_counter() - started
