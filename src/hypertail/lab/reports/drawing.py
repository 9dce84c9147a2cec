"""The parts that several figures share: style, colours, panels, axes, labels at the ends of lines.

matplotlib is imported by the functions, so importing this module is cheap.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from hypertail.lab.records.runfile import RunFile
from hypertail.lab.reports.groups import Group
from hypertail.recipes.catalogue import known_recipe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

# A report replaces these two by the colours of its theme.
INK, RULE = "#33363b", "#d5d8dd"
WIDTH = 8.6  # inches
LINE = 0.165  # height of a line of text, in inches

# Of strategies that are not known here. All colours are middle tones, about 3:1 against white and near-black.
_OWN = ("#a0724b", "#64899b", "#7f8f3c", "#a8697c")
_DASHES = ("-", "--", ":", "-.")


@contextmanager
def style() -> Iterator[None]:
    """The look of every figure, for the block only: the user's settings of matplotlib are left alone."""
    from matplotlib import rc_context

    look: dict[Any, Any] = {
        "font.family": ["sans-serif"],
        "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so every machine measures the same text
        "font.size": 9.0,
        "axes.titlesize": 9.5,
        "axes.labelsize": 9.0,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "axes.edgecolor": RULE,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.axisbelow": True,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "grid.color": RULE,
        "grid.linewidth": 0.7,
        "xtick.color": RULE,
        "ytick.color": RULE,
        "ytick.major.size": 0.0,
        **{f"{name}color": INK for name in ("text.", "axes.label", "axes.title", "xtick.label", "ytick.label")},
        "text.parse_math": False,  # names are shown as they are
        "lines.solid_capstyle": "round",
        "svg.fonttype": "none",
        "svg.hashsalt": "hypertail",
    }
    with rc_context(look):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that keeps labels inside itself."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def panels(count: int, aspect: float, names: Sequence[str] = ()) -> tuple[Figure, list[Axes], int]:
    """A figure of `count` panels in rows of at most four: figure, axes, panels per row.

    Args:
        count: of panels.
        aspect: height of a panel as a share of its width.
        names: titles of the panels; long ones get the room they need.
    """
    columns = count if count <= 3 else 4 if count in (4, 7, 8) or count > 9 else 3
    rows = -(-count // columns)
    width = WIDTH if columns > 1 else WIDTH / 2
    titles = [len(_title(name, columns)) for name in names] or [1]
    above = sum(max(titles[row * columns : (row + 1) * columns], default=1) - 1 for row in range(rows)) * LINE
    figure = new_figure(width, rows * (width / columns * aspect + 0.25) + above + 0.2)
    grid = figure.subplots(rows, columns, squeeze=False)
    for spare in grid.flat[count:]:
        figure.delaxes(spare)
    return figure, list(grid.flat[:count]), columns


def panel_title(axes: Axes, group: Group, columns: int) -> None:
    """The group's name above its panel, in its colour."""
    text = "\n".join(_title(group.name, columns))
    axes.set_title(text, loc="left", color=colour_of(group.first), weight="bold")


def _title(name: str, columns: int) -> list[str]:
    return textwrap.wrap(name, 90 // columns - 4)


def colour_of(run: RunFile) -> str:
    """The colour of a run's strategy, the same in every figure."""
    recipe = known_recipe(run.strategy)
    if recipe is None:
        return _OWN[sum(map(ord, run.label)) % len(_OWN)]
    return recipe.colour_at(run.depth if isinstance(run.depth, int) else None)


def dashes_of(groups: Sequence[Group]) -> list[str]:
    """A line style per group, so that groups of one colour can be told apart."""
    colours = [colour_of(group.first) for group in groups]
    return [_DASHES[colours[:index].count(colour) % len(_DASHES)] for index, colour in enumerate(colours)]


def shade(position: float) -> tuple[float, float, float, float]:
    """A colour of viridis for a position in 0..1, without its ends, which vanish on dark or light ground."""
    from matplotlib import colormaps

    red, green, blue, alpha = colormaps["viridis"](0.22 + 0.6 * position)
    return float(red), float(green), float(blue), float(alpha)


def percent_axis(axes: Axes, n: int, chance: float, *, name: bool = True) -> None:
    """Accuracy from 0 to 100 % over experiences 1..n, with the level of guessing, named unless told."""
    axes.set_ylim(0, 102)
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.set_xlim(0.7, max(n, 2) + 0.3)
    axes.set_xticks(nice_ticks(n))
    if not np.isnan(chance):
        axes.axhline(100 * chance, color=INK, linewidth=1.0, linestyle=(0, (1, 2)))
        axes.annotate(
            "guessing" if name else "", (0, 100 * chance), (2, -2), xycoords=axes.get_yaxis_transform(),
            textcoords="offset points", va="top", fontsize=7.5,
        )  # fmt: skip


def zoomed_axis(axes: Axes, n: int, values: NDArray[np.float64]) -> None:
    """Accuracy in percent over experiences 1..n, from just below the lowest of `values` to just above the highest."""
    low, high = np.nanmin(values), np.nanmax(values)
    step = next(step for step in (5, 10, 20, 25) if (high - low) / step < 5)
    bottom, top = step * np.floor(low / step), min(step * np.ceil(high / step), 100)
    top = max(top, bottom + step)
    axes.set_ylim(bottom - 0.02 * (top - bottom), top + 0.02 * (top - bottom))
    axes.set_yticks(np.arange(bottom, top + 1, step))
    axes.set_xlim(0.7, max(n, 2) + 0.3)
    axes.set_xticks(nice_ticks(n))


def nice_ticks(n: int) -> list[int]:
    """About five of the numbers 1..n, the first and the last among them.

    Example:
        >>> nice_ticks(5), nice_ticks(20)
        ([1, 2, 3, 4, 5], [1, 5, 10, 15, 20])
    """
    step = next(step for scale in (1, 10, 100, 1000, n) for step in (scale, 2 * scale, 5 * scale) if n <= 5 * step)
    inner = [number for number in range(step, n, step) if number - 1 > step / 2 and n - number > step / 2]
    return sorted({1, *inner, n})


class LineEnd(NamedTuple):
    """The name of a line, to be written beside its last point."""

    y: float
    x: float
    text: str
    colour: str


def name_line_ends(axes: Axes, ends: Sequence[LineEnd], height: float, *, width: int = 24, share: float = 0.02) -> None:
    """Write each line's name to its right, moved apart where names would overlap.

    Args:
        axes: the axes, with their limits set.
        ends: one for each line.
        height: of the axes, in inches.
        width: characters after which a name continues on a line of its own.
        share: of the axes' width, between the axes and the names.
    """
    to_axes = axes.transScale + axes.transLimits  # axes may be logarithmic
    placed = sorted(((*to_axes.transform((end.x, end.y)), end) for end in ends), key=lambda item: item[1])
    texts = [textwrap.wrap(end.text, width) for *_, end in placed]
    line = 0.94 * LINE / height  # one line of text, as a share of the axes' height
    places = spread_out([y for _, y, _ in placed], [line * len(text) for text in texts], 1.0)
    for place, text, (x, y, end) in zip(places, texts, placed, strict=True):
        axes.plot(
            [x, 1.0, 1.0 + share],
            [y, y, place],
            color=end.colour,
            linewidth=0.6,
            clip_on=False,
            transform=axes.transAxes,
        )
        axes.annotate(
            "\n".join(text), (1.0 + share, place), (3, 0), xycoords="axes fraction", textcoords="offset points",
            va="center", color=end.colour, weight="bold", annotation_clip=False,
        )  # fmt: skip


def footer(figure: Figure, lines: Sequence[str]) -> None:
    """Small print below everything: how the data was made, as long as it needs to be."""
    characters = int(figure.get_figwidth() * 15.5)
    text = "\n".join(part for line in lines for part in textwrap.wrap(line, characters))
    if text:
        figure.supxlabel(text, x=0.01, ha="left", fontsize=7.5, alpha=0.8, linespacing=1.35)


def legend_above(figure: Figure, names: Sequence[tuple[str, str, str]]) -> None:
    """One legend for all panels, above them, from (name, colour, dashes) of each kind of line."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour, linestyle=cast(Any, dashes), linewidth=2.0) for _, colour, dashes in names]
    texts = [name for name, *_ in names]
    figure.legend(
        handles, texts, loc="outside upper left", ncols=len(texts), frameon=False, labelcolor="linecolor",
        handlelength=2.6, borderaxespad=0.0, prop={"weight": "bold"},
    )  # fmt: skip


def spread_out(places: Sequence[float], sizes: Sequence[float], ceiling: float = math.inf) -> list[float]:
    """Move the centres of intervals apart, in order, until none overlap and none reaches below 0.

    Args:
        places: the wanted centres, ascending.
        sizes: the length of each interval.
        ceiling: none reaches above this either, if there is room for all.
    """
    moved = list(places)
    for _ in range(500):
        still = True
        for low in range(len(moved) - 1):
            overlap = (sizes[low] + sizes[low + 1]) / 2 - (moved[low + 1] - moved[low])
            if overlap > 1e-6:
                moved[low] -= overlap / 2
                moved[low + 1] += overlap / 2
                still = False
        if still:
            break
    for index, (place, size) in enumerate(zip(moved, sizes, strict=True)):
        floor = moved[index - 1] + (sizes[index - 1] + size) / 2 if index else size / 2
        moved[index] = max(place, floor)
    if sum(sizes) <= ceiling:
        top = ceiling
        for index in reversed(range(len(moved))):
            moved[index] = min(moved[index], top - sizes[index] / 2)
            top = moved[index] - sizes[index] / 2
    return moved


def draw_matrix(axes: Axes, R: NDArray[np.float64], size: float) -> ScalarMappable:
    """Draw an accuracy matrix, with its values in percent if it has at most ten rows.

    Args:
        axes: where.
        R: N x N, in 0..1; NaN cells stay empty.
        size: side of the drawing in inches, for the size of the figures in it.
    """
    n = len(R)
    cells = np.ma.masked_invalid(R)
    mesh = axes.imshow(cells, cmap="viridis", vmin=0, vmax=1, interpolation="none")
    axes.grid(False)
    shown = nice_ticks(n)
    axes.set_xticks([j - 1 for j in shown], [str(j) for j in shown])
    axes.set_yticks([i - 1 for i in shown], [str(i) for i in shown])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if n <= 10:
        font = min(9.0, 72 * size / n * 0.36)
        for i, j in zip(*np.nonzero(~np.isnan(R)), strict=True):
            colour = "white" if R[i, j] < 0.6 else "#14171a"
            text = f"{100 * R[i, j]:.0f}"
            axes.text(j, i, text, ha="center", va="center_baseline", color=colour, fontsize=font)
    return mesh


def percent_scale(figure: Figure, mesh: ScalarMappable, axes: Sequence[Axes]) -> None:
    """The colour scale of `draw_matrix`."""
    bar = figure.colorbar(mesh, ax=list(axes), ticks=[0, 0.25, 0.5, 0.75, 1.0], aspect=30, fraction=0.03, pad=0.02)
    bar.ax.set_yticklabels(["0", "25", "50", "75", "100"])
    bar.set_label("test accuracy, %")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
