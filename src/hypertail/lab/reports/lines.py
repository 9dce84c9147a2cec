"""Lines over experiences: a mean over seeds, its spread, a style, and a name at the end.

matplotlib is imported by the functions, so importing this module is cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hypertail.lab.reports import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class Line:
    """One line of a figure.

    Attributes:
        name: written beside its end.
        x: where it was measured.
        values: a row per seed; NaN where one did not measure.
        colour, dashes, marker: how it is drawn.
        bars: the spread is drawn as bars, for a few places, not as a band.
    """

    name: str
    x: NDArray[np.float64]
    values: NDArray[np.float64]
    colour: str
    dashes: str = "-"
    marker: str = ""
    bars: bool = False

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean at each x over the seeds that measured there; NaN where none did."""
        count = self._count
        total: NDArray[np.float64] = np.nansum(self.values, axis=0)
        mean: NDArray[np.float64] = np.divide(total, count, out=np.full(len(self.x), np.nan), where=count > 0)
        return mean

    @property
    def spread(self) -> NDArray[np.float64] | None:
        """The sample standard deviation over seeds at each x, NaN where fewer than two measured; None for one seed."""
        count = self._count
        if len(self.values) < 2:
            return None
        squares: NDArray[np.float64] = np.nansum((self.values - self.mean) ** 2, axis=0)
        variance = np.divide(squares, count - 1, out=np.full(len(self.x), np.nan), where=count > 1)
        spread: NDArray[np.float64] = np.sqrt(variance)
        return spread

    @property
    def reach(self) -> NDArray[np.float64]:
        """The mean and both edges of the band, NaN where there is none: all that its drawing takes up."""
        spread = np.full(len(self.x), np.nan) if self.spread is None else self.spread
        return np.stack((self.mean, self.mean - spread, self.mean + spread))

    @property
    def _count(self) -> NDArray[np.int64]:
        count: NDArray[np.int64] = (~np.isnan(self.values)).sum(axis=0)
        return count

    @property
    def end(self) -> drawing.LineEnd | None:
        """Its name and last point; None if it has none."""
        measured = np.flatnonzero(~np.isnan(self.mean))
        if not len(measured):
            return None
        last = measured[-1]
        return drawing.LineEnd(float(self.mean[last]), float(self.x[last]), self.name, self.colour)


def draw_lines(axes: Axes, lines: Sequence[Line], *, width: float = 1.8) -> list[drawing.LineEnd]:
    """Draw means and, where there are several seeds, ± one standard deviation; return the ends to name.

    A place with several seeds between others with one has a bar. A line that was measured at its end only has a bar,
    and if no marker of its own a diamond.
    """
    ends = []
    for line in lines:
        axes.plot(
            line.x,
            line.mean,
            color=line.colour,
            linestyle=line.dashes,
            linewidth=width,
            marker=line.marker or None,
            markersize=4.5,
        )
        lone = bool(np.isnan(line.mean[:-1]).all())
        if line.spread is not None:
            if not (line.bars or lone):
                draw_band(axes, line.x, line.reach, line.colour)
            at = np.isfinite(line.spread) if line.bars or lone else _alone(line.spread)
            if at.any():
                axes.errorbar(
                    line.x[at],
                    line.mean[at],
                    line.spread[at],
                    fmt="none",
                    ecolor=line.colour,
                    elinewidth=1.2,
                    capsize=2,
                )
        if lone and not line.marker:
            axes.plot(line.x[-1:], line.mean[-1:], "D", color=line.colour, markersize=4.5)
        if line.end is not None:
            ends.append(line.end)
    return ends


def _alone(spread: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where the spread is known and that of both neighbours is not: a band has no width there."""
    known = np.pad(np.isfinite(spread), 1)
    alone: NDArray[np.bool_] = known[1:-1] & ~known[:-2] & ~known[2:]
    return alone


def draw_band(axes: Axes, x: NDArray[np.float64], reach: NDArray[np.float64], colour: str) -> None:
    """Fill between the last two rows of `Line.reach`."""
    axes.fill_between(x, reach[1], reach[2], color=colour, alpha=0.16, linewidth=0)
