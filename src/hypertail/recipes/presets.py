"""The presets: `tuned`, an earlier state of it, the paper as `printed`, and the authors' `released` code.

A preset is the defaults with other values for some options. Those of the options that several strategies have stand
here; a recipe holds those of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypertail.errors import unknown_name


@dataclass(frozen=True)
class Preset:
    """A named choice of values.

    Attributes:
        what: one sentence.
        shared: values of shared options that differ from their defaults.
        like: the preset that it differs from; None: from the defaults.
    """

    what: str
    shared: Mapping[str, Any]
    like: str | None = None


_PRINTED: dict[str, Any] = {
    "schedule": "constant",
    "trunk_training": "with-tail",
    "trunk_epochs": None,
    "trunk_rotations": False,
    "tail_start": "fresh",
    "standardise": False,
    "classifier_lr": None,
    "reference_steps": 1,
}

PRESETS: Mapping[str, Preset] = {
    "tuned": Preset("what was measured to work best on held-out data", {}),
    "cosine-trunk": Preset(
        "tuned before trunks learned at a constant rate, for twice as long",
        {"trunk_schedule": "cosine", "trunk_epochs": 30},
        like="tuned",
    ),
    "printed": Preset("the paper as printed", _PRINTED),
    "released": Preset("the authors' released code", {**_PRINTED, "trunk_statistics": "batch", "head_width": 10}),
}
"""By name."""


def check_preset(name: str) -> str:
    """The name, if there is such a preset.

    Raises:
        ConfigError: there is none; the message names the nearest.
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    return name
