"""How often the state of a run is saved within an experience."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hypertail.errors import ConfigError

_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_EPOCHS = ("epoch", "epochs")


@dataclass(frozen=True)
class Interval:
    """Some time, or some epochs.

    Attributes:
        amount: of them, above 0.
        unit: `s`, `min`, `h` or `epochs`.

    Raises:
        ConfigError: another unit, or an amount that is not above 0, or no whole number of epochs.
    """

    amount: float = 5.0
    unit: str = "min"

    def __post_init__(self) -> None:
        """Check it."""
        known = self.unit in _SECONDS or (self.unit in _EPOCHS and self.amount == int(self.amount))
        if not known or not 1e-9 <= self.amount < 1e9:
            raise _refused(f"{self.amount:g}{self.unit}")

    @classmethod
    def parse(cls, text: str) -> Interval:
        """What `str` gives, as `30s`, `5min`, `1.5h` or `2epochs`.

        Raises:
            ConfigError: it is none.

        Example:
            >>> Interval.parse("2epochs")
            Interval(amount=2.0, unit='epochs')
        """
        # an exponent with its sign is what earlier versions wrote of large and small amounts
        found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?(?:e[+-]\d\d)?) ?([a-z]+)", text.strip())
        if found is None:
            raise _refused(text)
        return cls(float(found[1]), found[2])

    def __str__(self) -> str:
        """As `parse` takes it."""
        amount = f"{self.amount:.9f}".rstrip("0").removesuffix(".")
        return f"{amount}{self.unit}"

    def is_over(self, seconds: float, epochs: int) -> bool:
        """Whether so much time or so many epochs are enough."""
        if self.unit in _EPOCHS:
            return epochs >= self.amount
        return seconds >= self.amount * _SECONDS[self.unit]


def _refused(text: str) -> ConfigError:
    return ConfigError(
        "time between two checkpoints",
        required="a number above 0 and s, min, h or epochs, such as 5min or 2epochs",
        found=text[:80] or "nothing",
        hint="The state is saved at the end of each experience as well.",
    )
