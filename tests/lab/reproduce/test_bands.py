"""Figures of several seeds: bands are mean and deviation of the runs, and a seed that is missing leaves the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text

from hypertail.lab.experiments.library import FinishedRun
from hypertail.lab.reproduce.figures import figure4, figure7, figure8
from hypertail.lab.reproduce.setting import Setting
from support.made_runs import all_finished, finished
from support.sample_runs import tiny_run

NAN = float("nan")


def texts(figure: Figure) -> list[str]:
    """Everything written in the figure."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def test_figure4_shows_what_each_seed_has_where_one_is_missing() -> None:
    setting = Setting(seeds=(0, 1, 2), streams=("pair:cifar10,cifar100",))
    accuracies = {0: (0.8, 0.7, 0.75, 0.6, 0.5), 1: (0.7, 0.6, 0.6, 0.5, 0.3), 2: (0.9, None, 0.9, 0.7, 0.7)}
    runs = [
        FinishedRun(tiny_run([[0.9, NAN], [0.1, accuracy]], seed=config.seed), config, Path())
        for config in figure4.plan(setting)
        if (accuracy := accuracies[config.seed][config.depth or 0]) is not None
    ]
    figure = figure4.render(setting, runs).figures["figure4"]()
    drawn = [line.get_ydata() for axes in figure.axes for line in axes.lines]
    for wanted in ([80, 65, 75, 60, 50], [0, -10, -5, -20, -30]):
        assert any(len(line) == 5 and np.allclose(line, wanted) for line in drawn)
    written = " ".join(texts(figure))
    assert "n = 3 (seeds 0, 1, 2), but LR-1: n = 2 (seeds 0, 1)" in written
    assert "Not finished, so not shown: LR-1, seed 2." in written


def test_bands_are_mean_and_deviation_of_the_runs() -> None:
    setting = Setting(strategies=("hn-3",))
    runs = all_finished(figure8.plan(setting))
    axes = figure8.render(setting, runs).figures["figure8"]().axes[0]
    (band,) = axes.collections
    values = 100 * np.array([run.run.matrix[:, 0] for run in runs])
    assert len(values) == 3
    corners = {(round(x, 6), round(y, 6)) for x, y in band.get_paths()[0].vertices}
    for step, (mean, spread) in enumerate(zip(values.mean(0), values.std(0, ddof=1), strict=True), start=1):
        assert {(step, round(mean - spread, 6)), (step, round(mean + spread, 6))} <= corners


def test_figure7_takes_of_each_seed_the_run_there_is() -> None:
    setting = Setting(seeds=(0, 1), strategies=("lr-3",), streams=("noisy-cifar100",))
    first, second = setting.config("noisy-cifar100", "lr-3", eval_every=1)
    runs = [finished(first), finished(replace(second, eval_every=0))]
    written = " ".join(texts(figure7.render(setting, runs).figures["figure7"]()))
    assert "n = 2 (seeds 0, 1)" in written
    assert "not finished" not in written.lower()
    assert "Measured after each experience only, not within: LR-3." in written


def test_figure7_names_only_lines_without_points_within() -> None:
    setting = Setting(seeds=(0,), strategies=("lr-3", "hn-2"))
    fine = all_finished(figure7.plan(setting))
    assert "Measured after" not in " ".join(figure7.render(setting, fine).captions["figure7"])
    coarse = [run if run.config.strategy == "hn" else finished(replace(run.config, eval_every=0)) for run in fine]
    words = " ".join(figure7.render(setting, coarse).captions["figure7"])
    assert "Measured after each experience only, not within: LR-3 on noisy-cifar100-clean, LR-3 on noisy" in words
    assert "HN-2" not in words
    assert "Not finished" not in words
    some = " ".join(figure7.render(setting, coarse[:1]).captions["figure7"])
    assert "Not finished, so not shown: " in some
