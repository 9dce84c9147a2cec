"""Figures of finished runs. Drawn on Figure objects only: no window, no pyplot, no global state.

matplotlib is imported by the functions, so importing this module is cheap.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hypertail.lab.records.runfile import RunFile
from hypertail.lab.reports import drawing
from hypertail.lab.reports.groups import Group, group_runs
from hypertail.lab.reports.lines import Line, draw_band, draw_lines
from hypertail.lab.reports.places import column_of_devices
from hypertail.lab.reports.tables import human_bytes, time_unit, with_spread
from hypertail.storage.atomic import write_bytes, write_text
from hypertail.training.metrics import running_accuracy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_FEW = 5
"""Lines of a panel whose bands can be told apart."""


def mean_matrix(group: Group) -> NDArray[np.float64]:
    """The accuracy matrix averaged over the group's seeds; NaN where one of them did not measure."""
    mean: NDArray[np.float64] = np.mean(group.rows(lambda run: run.matrix), axis=0)
    return mean


def chance_of(run: RunFile) -> float:
    """The mean accuracy of guessing among each experience's own classes, in 0..1; NaN if classes are unknown."""
    counts = [len(task.classes) for task in run.tasks]
    return float(np.mean([1 / count for count in counts])) if min(counts) else float("nan")


def measured_over_time(runs: Iterable[RunFile]) -> list[Group]:
    """The groups of `runs` without those measured at the end only (`joint`); all if none is left."""
    groups = group_runs(runs)
    return [group for group in groups if len(group.first.tasks) == 1 or not _ends_only(group)] or groups


def _ends_only(group: Group) -> bool:
    return bool(np.isnan(mean_matrix(group)[:-1]).all())


def accuracy_heatmap(run: RunFile) -> Figure:
    """One run's accuracy matrix: a row per experience learned, a column per experience tested."""
    with drawing.style():
        figure = drawing.new_figure(4.6, 4.2)
        axes = figure.subplots()
        mesh = drawing.draw_matrix(axes, run.matrix, size=3.4)
        title = f"{run.label}, seed {run.seed}"
        axes.set_title(title, color=drawing.colour_of(run), loc="left", weight="bold")
        axes.set_xlabel("tested on experience")
        axes.set_ylabel("after learning experience")
        drawing.percent_scale(figure, mesh, [axes])
        return figure


def heatmap_grid(runs: Iterable[RunFile]) -> Figure:
    """A heat map per strategy (the mean over its seeds), side by side, on one colour scale.

    Strategies measured at the end only, such as `joint`, are left out.
    """
    groups = measured_over_time(runs)
    with drawing.style():
        figure, panels, columns = drawing.panels(len(groups), 0.9, [group.name for group in groups])
        for index, (axes, group) in enumerate(zip(panels, groups, strict=True)):
            mesh = drawing.draw_matrix(axes, mean_matrix(group), size=0.75 * drawing.WIDTH / columns)
            drawing.panel_title(axes, group, columns)
            if index % columns == 0:
                axes.set_ylabel("after learning")
            if index + columns >= len(groups):
                axes.set_xlabel("tested on")
        drawing.percent_scale(figure, mesh, panels)
        return figure


def retention_curves(runs: Iterable[RunFile]) -> Figure:
    """A panel per strategy, a line per experience: its test accuracy from when it was learned to the end.

    Lines are means over seeds, with bands where there are few of them. Strategies measured at the end only, such as
    `joint`, are left out.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap, to_hex

    groups = measured_over_time(runs)
    n = max(len(group.first.tasks) for group in groups)
    with drawing.style():
        figure, panels, columns = drawing.panels(len(groups), 0.72, [group.name for group in groups])
        shades = ListedColormap([drawing.shade(j / max(n - 1, 1)) for j in range(n)])
        for index, (axes, group) in enumerate(zip(panels, groups, strict=True)):
            R = 100 * group.rows(lambda run: run.matrix)
            last = R.shape[1]
            steps = np.arange(1.0, last + 1)
            for j in reversed(range(last)):
                line = Line(f"experience {j + 1}", steps[j:], R[:, j:, j], to_hex(shades(j)))
                axes.plot(line.x, line.mean, color=line.colour, linewidth=1.3)
                axes.plot(line.x[0], line.mean[0], "o", color=line.colour, markersize=2.6)
                if line.spread is not None and last <= _FEW:
                    draw_band(axes, line.x, line.reach, line.colour)
            drawing.percent_axis(axes, last, chance_of(group.first))
            drawing.panel_title(axes, group, columns)
            axes.tick_params(labelleft=index % columns == 0)
            if index % columns == 0:
                axes.set_ylabel("accuracy, %")
            if index + columns >= len(groups):
                axes.set_xlabel("experiences learned")
        if n > 1:
            scale = ScalarMappable(BoundaryNorm(np.arange(n + 1) + 0.5, n), shades)
            bar = figure.colorbar(scale, ax=panels, ticks=drawing.nice_ticks(n), aspect=30, fraction=0.03, pad=0.02)
            bar.set_label("experience tested")
            if bar.solids is not None:
                bar.solids.set_edgecolor("face")  # no seams between the shades
            bar.outline.set_visible(False)
            bar.ax.tick_params(length=0)
        return figure


def first_experience_curve(runs: Iterable[RunFile]) -> Figure:
    """Accuracy on the first experience after each one, a line per strategy (as the paper's Fig. 7, 8)."""
    return _curves(runs, lambda R: R[:, 0], "accuracy on experience 1, %")


def aca_curve(runs: Iterable[RunFile]) -> Figure:
    """Mean accuracy over the experiences seen so far, after each; the band is ± the deviation over seeds."""
    return _curves(runs, running_accuracy, "mean accuracy so far, %")


def _curves(
    runs: Iterable[RunFile], values_of: Callable[[NDArray[np.float64]], NDArray[np.float64]], label: str
) -> Figure:
    groups = group_runs(runs)
    n = max(len(group.first.tasks) for group in groups)
    lines_of_names = sum(len(textwrap.wrap(group.name, 24)) for group in groups)
    height = max(3.3, 1.1 * drawing.LINE * lines_of_names + 1.2)
    with drawing.style():
        figure = drawing.new_figure(drawing.WIDTH, height)
        axes = figure.subplots()
        drawing.percent_axis(axes, n, chance_of(groups[0].first))
        lines = []
        for group, dashes in zip(groups, drawing.dashes_of(groups), strict=True):
            values = 100 * group.rows(lambda run: values_of(run.matrix))
            steps = np.arange(1.0, values.shape[1] + 1)
            lines.append(Line(group.name, steps, values, drawing.colour_of(group.first), dashes))
        ends = draw_lines(axes, lines)
        axes.set_xlabel("experiences learned")
        axes.set_ylabel(label)
        drawing.name_line_ends(axes, ends, height - 0.8)
        return figure


def time_and_memory(groups: Sequence[Group]) -> Figure:
    """Bars per strategy: time of the whole run, with devices where they differ, and bytes kept between experiences."""
    unit, length, digits = time_unit(run.seconds for group in groups for run in group.runs)
    seconds, sizes = ([group.stat(name) for group in groups] for name in ("seconds", "bytes_kept"))
    kept = [size.mean if size else 0.0 for size in sizes]
    times = [time.mean / length if time else 0.0 for time in seconds]
    spent = [with_spread(time, 1 / length, digits) for time in seconds]
    devices = column_of_devices([group.runs for group in groups])
    spent = [f"{time}, on {where}" for time, where in zip(spent, devices, strict=True)] if devices else spent
    with drawing.style():
        names = [textwrap.wrap(group.name, 26) for group in groups]
        figure = drawing.new_figure(drawing.WIDTH, 0.6 + len(names) * (0.14 + drawing.LINE * max(map(len, names))))
        left, right = figure.subplots(1, 2, sharey=True)
        rows = np.arange(len(groups))
        for axes, values, texts, title in (
            (
                left,
                times,
                spent,
                f"time of a whole run, {unit}",
            ),
            (
                right,
                kept,
                [human_bytes(size) if size else "nothing" for size in kept],
                "kept between experiences",
            ),
        ):
            axes.barh(rows, values, color=[drawing.colour_of(group.first) for group in groups], height=0.62)
            axes.set_xlim(0, (1.7 if devices and axes is left else 1.35) * max(*values, 1e-9))
            for row, (value, text) in enumerate(zip(values, texts, strict=True)):
                axes.annotate(text, (value, row), (4, 0), textcoords="offset points", va="center")
            axes.set_title(title, loc="left")
            axes.spines["bottom"].set_visible(False)
            axes.tick_params(length=0, labelbottom=False)
            axes.grid(False)
        left.set_yticks(rows, ["\n".join(name) for name in names])
        left.set_ylim(len(groups) - 0.4, -0.6)
        return figure


def to_svg(figure: Figure) -> str:
    """The figure as SVG text; letters stay letters, and the same figure gives the same text."""
    text = io.StringIO()
    with drawing.style():
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return text.getvalue()


def save(figure: Figure, stem: str | Path, *, dpi: int = 160) -> tuple[Path, Path]:
    """Write `stem`.svg and `stem`.png (on white), whole or not at all; folders are made where missing."""
    stem = Path(stem)
    svg, png = (stem.with_name(f"{stem.name}.{kind}") for kind in ("svg", "png"))
    write_text(svg, to_svg(figure))
    pixels = io.BytesIO()
    with drawing.style():
        figure.savefig(pixels, format="png", dpi=dpi, facecolor="white")
    write_bytes(png, pixels.getvalue())
    return svg, png
