"""Images of more than 8 bits a channel -> 8 bits, by one rule for a whole dataset.

What the numbers of such an image mean is not written in it: a 12-bit camera fills a sixteenth of a 16-bit file. The
rule follows from the least and the greatest value of all images of the dataset, training and test, so that images
stay comparable. Of the numbers of bits it takes the least that holds the greatest value:

| images | values | black is | white is |
|---|---|---|---|
| whole numbers of 16 or 32 bits | 0 or more | 0 | the greatest number of 8, 10, 12, 14, 16 or more bits |
| fractions (floats) | 0 to 1 | 0 | 1 |
| fractions | 0 or more, above 1 | 0 | as for whole numbers |
| either | some below 0 | the least value | the greatest value |

Images of 8 bits in the same dataset stay as they are. Images that come later, to be answered by what was learned, are
scaled by the rule that was found then: what such an image looks like must not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

BITS = (8, 10, 12, 14, 16)
ROUNDING = 1e-3  # fractions may pass 1 by this much and still be meant as 0..1


@dataclass(frozen=True, eq=False)
class Deep:
    """A deep image at its final size, not yet scaled.

    Attributes:
        values: float32 (size, size).
        low, high: least and greatest value before it was resized.
        whole: the file holds whole numbers, else fractions.
    """

    values: Float[Tensor, "size size"]
    low: float
    high: float
    whole: bool


@dataclass(frozen=True)
class Rule:
    """Which values become black and white; `words` say so."""

    black: float
    white: float
    words: str

    def apply(self, values: Float[Tensor, "size size"]) -> UInt8[Tensor, "size size"]:
        """Grey levels 0..255, rounded; values outside are clipped."""
        levels = (values.to(torch.float64) - self.black) * (255 / (self.white - self.black))
        return levels.round_().clamp_(0, 255).to(torch.uint8)


def finite(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Values with 0 in the place of what is no number, and infinities at the ends of the finite range."""
    if np.isfinite(values).all():
        return values
    good = values[np.isfinite(values)]
    low, high = (float(good.min()), float(good.max())) if good.size else (0.0, 0.0)
    return np.nan_to_num(values, nan=0.0, posinf=high, neginf=low).astype(np.float32)


Scaling = Mapping[bool, Rule]
"""A rule for whole numbers (True) and one for fractions (False), each where it is known."""

KINDS = {True: "whole numbers", False: "fractions"}
"""What the two are called in files."""


def rules(images: Iterable[Deep], known: Scaling | None = None) -> dict[bool, Rule]:
    """One rule for whole numbers (True) and one for fractions (False), each where there are such images.

    Args:
        images: that are to be scaled.
        known: rules that hold, whatever the images are.
    """
    found: dict[bool, Rule] = {}
    groups: dict[bool, list[Deep]] = {True: [], False: []}
    for image in images:
        groups[image.whole].append(image)
    for whole, group in groups.items():
        if group:
            low, high = min(image.low for image in group), max(image.high for image in group)
            kind = "16 or 32 bits" if whole else "fractions"
            start = f"{len(group)} image{'s' * (len(group) > 1)} of {kind} with values {low:g} to {high:g}: "
            rule = (known or {}).get(whole)
            found[whole] = _rule(start, low, high, whole) if rule is None else _again(start, rule)
    return found


def _rule(start: str, low: float, high: float, whole: bool) -> Rule:
    if low < 0:
        high = max(high, low + 1e-12) if high > low else low + 1
        return Rule(low, high, f"{start}scaled so that {low:g} is black and {high:g} white")
    if not whole and high <= 1 + ROUNDING:
        return Rule(0, 1, f"{start}scaled so that 0 is black and 1 white")
    bits = next((bits for bits in BITS if high < 2**bits), int(high).bit_length())
    if bits == 8:
        return Rule(0, 255, f"{start}taken as 8 bits, 0 to 255")
    return Rule(0, 2**bits - 1, f"{start}taken as {bits} bits, so that {2**bits - 1} is white")


def _again(start: str, rule: Rule) -> Rule:
    words = f"{start}scaled as those learned from, so that {rule.black:g} is black and {rule.white:g} white"
    return Rule(rule.black, rule.white, words)


def scaling_to_json(scaling: Scaling) -> dict[str, dict[str, float]]:
    """Rules as JSON can hold them."""
    return {KINDS[whole]: {"black": rule.black, "white": rule.white} for whole, rule in sorted(scaling.items())}


def scaling_from_json(value: Mapping[str, Any]) -> dict[bool, Rule]:
    """What `scaling_to_json` gave.

    Raises:
        ValueError: a rule whose white is not above its black.
    """
    found: dict[bool, Rule] = {}
    for whole, kind in KINDS.items():
        if kind in value:
            black, white = float(value[kind]["black"]), float(value[kind]["white"])
            if not white > black:
                raise ValueError(f"black {black:g} and white {white:g} of images of {kind}")
            found[whole] = Rule(black, white, f"images of {kind}: {black:g} is black and {white:g} white")
    return found
