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
        """The mean over seeds at each x."""
        mean: NDArray[np.float64] = self.values.mean(axis=0)
        return mean

    @property
    def spread(self) -> NDArray[np.float64] | None:
        """The sample standard deviation over seeds at each x; None for one seed."""
        if len(self.values) < 2:
            return None
        spread: NDArray[np.float64] = self.values.std(axis=0, ddof=1)
        return spread

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

    A line that was measured at its end only is a diamond.
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
        if line.spread is not None and line.bars:
            axes.errorbar(line.x, line.mean, line.spread, fmt="none", ecolor=line.colour, elinewidth=1.2, capsize=2)
        elif line.spread is not None:
            low, high = line.mean - line.spread, line.mean + line.spread
            axes.fill_between(line.x, low, high, color=line.colour, alpha=0.16, linewidth=0)
        if np.isnan(line.mean[:-1]).all():
            axes.plot(line.x[-1:], line.mean[-1:], "D", color=line.colour, markersize=4.5)
        if line.end is not None:
            ends.append(line.end)
    return ends
