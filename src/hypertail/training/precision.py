"""Precision of the forward passes while training: full (float32), or mixed (bfloat16 where that is safe)."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch

from hypertail.errors import check_choice

Precision = Literal["full", "mixed"]
Speed = Literal["auto", "full", "mixed"]

SMALLEST_SIDE = 32
"""Pixels a side from which `auto` takes mixed precision: below, conversions cost more than multiplications save."""


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The context of a training step."""
    if precision == "full":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def choose_precision(speed: Speed, *, bfloat16: bool, pixels: int, convolutions: bool) -> Precision:
    """`full` or `mixed` as told; for `auto` by a fixed rule, so that the same command gives the same bits.

    `auto` is `mixed` where all three facts speak for it: the device multiplies bfloat16 matrices, images have
    `SMALLEST_SIDE` pixels a side or more, and what learns contains convolutions. Nothing is timed: a stopwatch says
    something else on a busy machine.

    Args:
        speed: what was asked for.
        bfloat16: whether the device multiplies bfloat16 matrices natively (`multiplies_bfloat16`).
        pixels: of the shorter side of the images.
        convolutions: whether what learns contains some.

    Raises:
        ConfigError: an unknown speed.
    """
    check_choice("speed", speed, get_args(Speed))
    if speed != "auto":
        return speed
    return "mixed" if bfloat16 and convolutions and pixels >= SMALLEST_SIDE else "full"


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for it: CUDA from compute capability 8.0, CPUs with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    try:
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    except AttributeError:  # a torch that cannot tell
        return False
