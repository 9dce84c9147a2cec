"""How fast what tasks share may learn, from the number of steps that a task takes."""

from __future__ import annotations

from dataclasses import dataclass

from hypertail.errors import ConfigError

POWER = 2
"""Of the share of the reference steps; notebook/2026-11-25-few-steps.md has what was tried."""


@dataclass(frozen=True)
class Pace:
    """Slows shared parameters down where a task takes few steps.

    Adam moves every parameter by about its learning rate at each step, whatever the size of the gradient, so that the
    first steps on a new task carry what tasks share far from where it was, however strong the penalty. Over some
    hundreds of steps the penalty brings it back where it matters; in a few dozen it cannot, and what is left of the
    change is what was forgotten.

    Args:
        reference: steps a task for which a learning rate and a penalty weight were chosen, and from which on they
            hold as they are; None: they always do.

    Raises:
        ConfigError: a reference below 1.
    """

    reference: int | None = None

    def __post_init__(self) -> None:
        if self.reference is not None and self.reference < 1:
            raise ConfigError(
                "reference steps", required="1 or more", found=str(self.reference), hint="The default is 400."
            )

    def is_short(self, steps: int) -> bool:
        """Whether a task of so many steps takes fewer than the reference."""
        return self.reference is not None and steps < self.reference

    def rate(self, steps: int) -> float:
        """Factor of the learning rate of shared parameters, at most 1."""
        if self.reference is None or steps >= self.reference:
            return 1.0
        return float((max(1, steps) / self.reference) ** POWER)

    def weight(self, steps: int) -> float:
        """Factor of the penalty's weight, at least 1."""
        return 1 / self.rate(steps)
