"""Points with bars, each named beside itself, so that names neither overlap nor hide a point.

matplotlib is imported by the functions, so importing this module is cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypertail.lab.reports.drawing import LINE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Transform

_LETTER = 0.085
"""Width of a letter of a bold name, in inches."""
_GAP = 0.075
"""Between a point and its name, in inches."""

Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""


@dataclass(frozen=True)
class Point:
    """One point of a figure.

    Attributes:
        name: written beside it.
        x, y: where it is.
        spread: of y over seeds; None where it is not known.
        colour: of all three.
    """

    name: str
    x: float
    y: float
    spread: float | None
    colour: str


def draw_points(axes: Axes, points: Sequence[Point], width: float, height: float) -> None:
    """Draw points with bars of ± one standard deviation, and their names.

    Args:
        axes: with their limits and scales set.
        points: what to draw.
        width, height: of the axes, in inches.
    """
    to_axes = axes.transScale + axes.transLimits
    for point in points:
        axes.errorbar(
            point.x, point.y, point.spread, fmt="o", color=point.colour, markersize=5.0, elinewidth=1.2, capsize=2.5
        )
    shares = to_axes.transform([(point.x, point.y) for point in points])
    centres = [(float(x) * width, float(y) * height) for x, y in shares]
    bars = [_bar(to_axes, point, height) for point in points]
    boxes = place_names([point.name for point in points], centres, bars, width, height)
    for point, centre, box in zip(points, centres, boxes, strict=True):
        left, bottom, right, top = box
        middle = (bottom + top) / 2
        axes.annotate(
            point.name,
            ((left + right) / 2 / width, middle / height),
            xycoords="axes fraction",
            ha="center",
            va="center",
            color=point.colour,
            weight="bold",
            annotation_clip=False,
        )
        near = (min(max(centre[0], left), right), min(max(centre[1], bottom), top))
        if abs(near[0] - centre[0]) + abs(near[1] - centre[1]) > 2.5 * _GAP:  # too far to be seen as one
            axes.plot(
                [centre[0] / width, near[0] / width],
                [centre[1] / height, near[1] / height],
                color=point.colour,
                linewidth=0.6,
                transform=axes.transAxes,
                clip_on=False,
            )


def _bar(to_axes: Transform, point: Point, height: float) -> float:
    """Half the length of a point's bar, in inches."""
    (_, low), (_, high) = to_axes.transform([(point.x, point.y), (point.x, point.y + (point.spread or 0.0))])
    return float(high - low) * height


def place_names(
    names: Sequence[str], centres: Sequence[tuple[float, float]], bars: Sequence[float], width: float, height: float
) -> list[Box]:
    """A box for each name: at the first place near its point where it touches neither a name nor a point.

    Places are tried from near to far: right, left, above, below and between. Where none is free it is the one that
    overlaps least.

    Args:
        names: what is to be written.
        centres: the points, in inches.
        bars: half the length of the bar of each.
        width, height: of the axes.
    """
    marks = [_around(x, y, 2 * _GAP, 2 * max(_GAP, bar)) for (x, y), bar in zip(centres, bars, strict=True)]
    taken: list[Box] = []
    for name, (x, y) in zip(names, centres, strict=True):
        size = (_LETTER * len(name), LINE)
        places = [_around(x + dx, y + dy, *size) for dx, dy in _offsets(*size)]
        places = [box for box in places if box[0] >= 0 and box[1] >= 0 and box[2] <= width and box[3] <= height]
        wanted = places or [_around(x + _GAP + size[0] / 2, y, *size)]
        taken.append(min(wanted, key=lambda box: round(sum(_shared(box, other) for other in (*taken, *marks)), 6)))
    return taken


def _offsets(width: float, height: float) -> list[tuple[float, float]]:
    """Where the middle of a name may lie from its point, the best first."""
    found = []
    for far in range(5):
        side, up = _GAP + width / 2 + 0.1 * far, _GAP + height / 2 + 0.7 * far * height
        found += [(side, 0.7 * far * height), (-side, 0.7 * far * height)]
        found += [(side, -0.7 * far * height), (-side, -0.7 * far * height)]
        found += [(0.0, up), (0.0, -up)]
    return found


def _around(x: float, y: float, width: float, height: float) -> Box:
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def _shared(one: Box, other: Box) -> float:
    """The area that two boxes have in common."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(wide, 0.0) * max(high, 0.0)
