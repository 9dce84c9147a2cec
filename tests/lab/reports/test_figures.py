"""Figures: they show the numbers, survive odd runs, and touch nothing global."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from hypertail.lab.records.runfile import RunFile, TaskInfo
from hypertail.lab.reports import drawing, figures
from hypertail.lab.reports.groups import group_runs
from support.sample_runs import sample_run, sample_runs, tiny_run

NAN = math.nan

DRAWINGS: dict[str, Callable[[list[RunFile]], Figure]] = {
    "accuracy_heatmap": lambda runs: figures.accuracy_heatmap(runs[0]),
    "heatmap_grid": figures.heatmap_grid,
    "retention_curves": figures.retention_curves,
    "first_experience_curve": figures.first_experience_curve,
    "aca_curve": figures.aca_curve,
    "time_and_memory": lambda runs: figures.time_and_memory(group_runs(runs)),
}

ODD: dict[str, Callable[[], list[RunFile]]] = {
    "one run": lambda: [sample_run(n=3)],
    "one experience": lambda: sample_runs(1, seeds=2),
    "joint alone": lambda: [sample_run("joint", None, n=3)],
    "nothing measured": lambda: [tiny_run([[NAN, NAN], [NAN, NAN]])],
    "gaps": lambda: [tiny_run([[0.5, NAN], [NAN, 0.7]])],
    "nothing kept, no time": lambda: [replace(sample_run("naive", None, n=2), seconds=0.0)],
    "two lengths": lambda: [sample_run(n=2), sample_run("naive", None, n=4)],
    "names of classes unknown": lambda: [replace(sample_run(n=1), tasks=(TaskInfo("x", (), 0, 0),))],
    "hostile name": lambda: [replace(sample_run(n=2), label="<script>$\\frac{$&")],
}


def texts(figure: Figure) -> list[str]:
    """What is written in the figure, in the order of its SVG."""
    tree = ET.fromstring(figures.to_svg(figure))
    return ["".join(element.itertext()) for element in tree.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("name", DRAWINGS)
def test_figure_is_saved_as_svg_and_png(name: str, tmp_path: Path) -> None:
    svg, png = figures.save(DRAWINGS[name](sample_runs(5, seeds=2, joint=True)), tmp_path / "new" / "v1.2", dpi=50)
    assert (svg.name, png.name) == ("v1.2.svg", "v1.2.png")
    ET.parse(svg)
    assert png.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("runs", ODD.values(), ids=ODD)
def test_odd_runs_are_drawn(runs: Callable[[], list[RunFile]]) -> None:
    for draw in DRAWINGS.values():
        assert texts(draw(runs()))


def test_names_are_shown_as_they_are() -> None:
    assert "<script>$\\frac{$&" in texts(figures.aca_curve(ODD["hostile name"]()))


def test_curves_show_means_and_bands_over_seeds() -> None:
    first, second = [[0.9, NAN], [0.5, 0.7]], [[0.7, NAN], [0.3, 0.9]]
    runs = [tiny_run(first, seed=0), tiny_run(second, seed=1)]
    (axes,) = figures.first_experience_curve(runs).axes
    lines = [line.get_ydata() for line in axes.lines]
    assert any(len(line) == 2 and np.allclose(line, [80, 40]) for line in lines)
    (band,) = axes.collections
    heights = band.get_paths()[0].vertices[:, 1]
    spread = 100 * np.std([0.9, 0.7], ddof=1)
    assert heights.max() == pytest.approx(80 + spread)
    assert heights.min() == pytest.approx(40 - spread)
    (axes,) = figures.aca_curve(runs).axes
    assert any(np.allclose(line.get_ydata(), [80, 60]) for line in axes.lines if len(line.get_ydata()) == 2)


def test_retention_shows_every_experience_from_its_learning_on() -> None:
    run = tiny_run([[0.9, NAN, NAN], [0.5, 0.8, NAN], [0.4, 0.6, 0.7]])
    panel = figures.retention_curves([run]).axes[0]
    lines = [list(np.round(line.get_ydata(), 6)) for line in panel.lines]
    for wanted in ([90, 50, 40], [80, 60], [70]):
        assert wanted in lines


def test_heatmap_writes_percentages_up_to_ten_experiences() -> None:
    run = tiny_run([[0.91, NAN], [0.52, 0.87]])
    assert {"91", "52", "87"} <= set(texts(figures.accuracy_heatmap(run)))
    assert not {"nan", "0"} & set(texts(figures.heatmap_grid([run]))[:4])
    large = sample_run("naive", None, n=11)
    assert f"{100 * large.matrix[-1, 0]:.0f}" not in texts(figures.accuracy_heatmap(large))


def test_grid_shows_the_mean_over_seeds() -> None:
    runs = [tiny_run([[0.2]], seed=0), tiny_run([[0.4]], seed=1)]
    assert "30" in texts(figures.heatmap_grid(runs))


def test_joint_is_left_out_over_time_but_not_at_the_end() -> None:
    runs = sample_runs(3, seeds=1, joint=True)
    assert "Joint" not in texts(figures.retention_curves(runs))
    assert "Joint" not in texts(figures.heatmap_grid(runs))
    assert "Joint" in texts(figures.aca_curve(runs))


def test_costs_are_written_beside_the_bars() -> None:
    runs = [replace(sample_run("naive", None, n=2), seconds=12.5), sample_run("hn", 2, n=2)]
    written = texts(figures.time_and_memory(group_runs(runs)))
    assert {"Naive", "HN-2", "12.5", "nothing", "2.46 MB"} <= set(written)


def test_times_of_several_devices_name_them() -> None:
    there = {"device": "cuda", "gpu": "NVIDIA H200"}
    runs = [replace(sample_run("naive", None, n=2), seconds=12.5), replace(sample_run("hn", 2, n=2), hardware=there)]
    written = texts(figures.time_and_memory(group_runs(runs)))
    assert "12.5, on CPU" in written
    assert any(text.endswith(", on H200") for text in written)
    assert not any(", on " in text for text in texts(figures.time_and_memory(group_runs(runs[:1]))))


def test_the_same_runs_give_the_same_svg() -> None:
    runs = sample_runs(3, seeds=2)
    assert figures.to_svg(figures.aca_curve(runs)) == figures.to_svg(figures.aca_curve(runs))


def test_settings_of_matplotlib_are_left_alone() -> None:
    with mpl.rc_context({"font.size": 31.0}):
        before = dict(mpl.rcParams)
        small = figures.to_svg(figures.aca_curve([sample_run(n=2)]))
        assert dict(mpl.rcParams) == before
    assert small == figures.to_svg(figures.aca_curve([sample_run(n=2)]))


def test_strategies_keep_their_colours_and_can_be_told_apart() -> None:
    runs = sample_runs(2, seeds=1, joint=True)
    assert len({drawing.colour_of(run) for run in runs}) == len(runs)
    run = sample_run(n=2)
    variants = group_runs([replace(run, preset=name) for name in "abc"])
    assert len(set(drawing.dashes_of(variants))) == 3


@pytest.mark.parametrize("n", [1, 2, 5, 6, 7, 10, 13, 20, 37, 100, 1234])
def test_ticks_name_the_first_and_the_last_experience(n: int) -> None:
    ticks = drawing.nice_ticks(n)
    assert (ticks[0], ticks[-1]) == (1, n)
    assert ticks == sorted(set(ticks))
    assert len(ticks) <= 7


def test_labels_are_moved_apart_in_order() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        wanted = sorted(rng.uniform(0, 100, 8))
        sizes = rng.uniform(3, 10, 8)
        places = drawing.spread_out(wanted, sizes)
        for low in range(7):
            assert places[low + 1] - places[low] >= (sizes[low] + sizes[low + 1]) / 2 - 1e-3
        assert places[0] >= sizes[0] / 2 - 1e-9
        bounded = drawing.spread_out(wanted, sizes, 100)
        assert bounded[-1] <= 100 - sizes[-1] / 2 + 1e-9
        for low in range(7):
            assert bounded[low + 1] - bounded[low] >= (sizes[low] + sizes[low + 1]) / 2 - 1e-3
        assert bounded[0] >= sizes[0] / 2 - 1e-9


def test_long_names_get_the_room_they_need() -> None:
    run = sample_run(n=2)
    runs = [replace(run, config={f"option_{letter}": value for letter in "abcd"}) for value in (1, 2)]
    short = [replace(run, config={"a": value}) for value in (1, 2)]
    for draw in (figures.retention_curves, figures.heatmap_grid, lambda r: figures.time_and_memory(group_runs(r))):
        assert draw(runs).get_figheight() > draw(short).get_figheight()


@pytest.mark.parametrize(
    ("values", "limits"), [([71.0, 74.0], (70, 75)), ([20.0, 98.0], (20, 100)), ([50.0], (50, 55))]
)
def test_zoomed_axis_holds_its_values(values: list[float], limits: tuple[float, float]) -> None:
    axes = Figure().subplots()
    drawing.zoomed_axis(axes, 20, np.array([*values, NAN]))
    ticks = axes.get_yticks()
    assert (ticks[0], ticks[-1]) == limits
    assert axes.get_ylim()[0] < min(values)
    assert axes.get_ylim()[1] > max(values)


def test_labels_with_room_stay_where_they_are() -> None:
    assert drawing.spread_out([10, 50, 90], [5, 5, 5]) == [10, 50, 90]


def test_a_seed_that_occurs_twice_is_one_row_of_a_line() -> None:
    runs = [tiny_run([[a, NAN], [a, a]], seed=seed) for seed, a in ((0, 0.5), (0, 0.7), (1, 0.8))]
    (group,) = group_runs(runs)
    assert np.allclose(group.rows(lambda run: run.matrix[-1]), [[0.6, 0.6], [0.8, 0.8]])
    assert np.allclose(figures.mean_matrix(group)[-1], 0.7)
    drawn = [line.get_ydata() for line in figures.aca_curve(runs).axes[0].lines]
    assert any(len(line) == 2 and np.allclose(line, 70) for line in drawn)
