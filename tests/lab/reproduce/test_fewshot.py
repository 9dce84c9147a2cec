"""Accuracy by images of each class: which runs it is made of, and that it shows their numbers."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from rich.console import Console

from hypertail.errors import ConfigError
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.reports.papertable import Number
from hypertail.lab.reproduce.figures import fewshot
from hypertail.lab.reproduce.reproduce import reproduce
from hypertail.lab.reproduce.setting import SCALES, Setting
from hypertail.lab.reproduce.tables import table2
from hypertail.nets.models import cut_of
from support.made_runs import all_finished

THREE = Setting()


def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"any")
    return path


def test_all_images_are_the_runs_of_table_2() -> None:
    planned = fewshot.plan(THREE)
    assert len(planned) == 5 * 5 * 3
    whole = [config for config in planned if config.images_per_class is None]
    ours = [config.identity() for config in table2.plan(THREE)]
    assert len(whole) == 5 * 3
    assert all(config.identity() in ours for config in whole)


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_can_be_planned(scale: str) -> None:
    setting = Setting(scale=scale)
    counts = {config.images_per_class for config in fewshot.plan(setting)}
    assert counts == ({5, 20, None} if scale == "smoke" else {10, 20, 50, 100, None})


def test_rows_and_streams_are_chosen() -> None:
    labels = {config.label for config in fewshot.plan(Setting(strategies=("hn-3", "head")))}
    assert labels == {"HN-3", "Head-4"}
    assert fewshot.plan(Setting(streams=("split-tinyimagenet",))) == ()


def test_a_pretrained_backbone_is_cut_at_the_same_stages(tmp_path: Path) -> None:
    setting = Setting(weights=weights(tmp_path), seeds=(0,))
    usual, pretrained = fewshot.backbones(setting)
    assert usual.strategies(setting) == ["separate-3", "head-4", "adapter-3", "hn-3", "lda-4"]
    assert pretrained.strategies(setting) == ["separate-2", "head-3", "adapter-2", "hn-2", "lda-3"]
    own = [config for config in fewshot.plan(setting) if config.weights is not None]
    assert {config.model for config in own} == {"cifar-resnet20"}
    assert len(own) == 25
    tail = cut_of("cifar-resnet20", 2).tail
    assert [name for name, _ in tail.named_children()] == ["layer3", "classifier"]
    only = Setting(weights=setting.weights, strategies=("hn-3",))
    assert {config.label for config in fewshot.plan(only)} == {"HN-3", "HN-2"}


def test_bands_and_cells_are_mean_and_deviation_of_the_runs(tmp_path: Path) -> None:
    setting = Setting(weights=weights(tmp_path), strategies=("hn-3", "lda-4"))
    runs = all_finished(fewshot.plan(setting))
    output = fewshot.render(setting, runs)
    assert [table.stem for table in output.tables] == ["fewshot", "fewshot-pretrained"]
    figure = output.figures["fewshot"]()
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "Trunk trained on the first experience",
        "Pretrained backbone",
    ]
    for axes, table, model in zip(figure.axes, output.tables, ("slim-resnet18", "cifar-resnet20"), strict=True):
        for label, *cells, n in table.rows:
            assert str(n) == "3"
            for place, count, cell in zip((10, 20, 50, 100, 500), fewshot.COUNTS, cells, strict=True):
                own = [run for run in runs if _is(run.config, model, str(label), count)]
                values = [100 * float(run.run.metrics["aca"] or 0) for run in own]
                mean, spread = np.mean(values), np.std(values, ddof=1)
                assert isinstance(cell, Number)
                assert (cell.mean, cell.std) == (pytest.approx(mean), pytest.approx(spread))
                corners = [point for band in axes.collections for path in band.get_paths() for point in path.vertices]
                for y in (mean - spread, mean + spread):
                    assert any(np.allclose(point, (place, y)) for point in corners)


def _is(config: RunConfig, model: str, label: str, count: int | None) -> bool:
    return (config.model, config.label, config.images_per_class) == (model, label, count)


def test_what_is_missing_is_a_gap_that_is_named() -> None:
    setting = Setting(seeds=(0,), strategies=("hn-3",))
    runs = [run for run in all_finished(fewshot.plan(setting)) if run.config.images_per_class != 50]
    output = fewshot.render(setting, runs)
    (table,) = output.tables
    assert "HN-3 with 50 images a class, seed 0" in " ".join(output.captions["fewshot"])
    assert not fewshot.render(setting, ()).figures
    assert table.columns == ("strategy", "10", "20", "100", "500", "n")
    assert "No run is finished with 50 images of each class: not shown." in table.notes
    (nothing,) = fewshot.render(setting, ()).tables
    assert nothing.columns == ("strategy", "10", "20", "50", "100", "500", "n")


def test_cells_with_fewer_seeds_are_named() -> None:
    setting = Setting(strategies=("hn-3", "head-4"))
    seeds = {("HN-3", 50): 2, ("HN-3", 10): 1, ("Head-4", 10): 1, ("Head-4", 20): 0}
    runs = [
        run
        for run in all_finished(fewshot.plan(setting))
        if run.run.seed < seeds.get((run.run.label, run.config.images_per_class or 500), 3)
    ]
    (table,) = fewshot.render(setting, runs).tables
    assert [(row[0], str(row[-1])) for row in table.rows] == [("Head-4", "3"), ("HN-3", "3")]
    assert table.rows[0][2] is None
    assert "n is the most of a row. Fewer seeds: all with 10 images, n = 1; HN-3 with 50 images, n = 2." in table.notes
    complete = fewshot.render(setting, all_finished(fewshot.plan(setting)))
    assert not any("Fewer seeds" in note for note in complete.tables[0].notes)


def test_a_spread_between_single_seeds_is_a_bar() -> None:
    setting = Setting(strategies=("hn-3",))
    runs = [r for r in all_finished(fewshot.plan(setting)) if r.run.seed == 0 or r.config.images_per_class == 50]
    axes = fewshot.render(setting, runs).figures["fewshot"]().axes[0]
    values = [100 * float(run.run.metrics["aca"] or 0) for run in runs if run.config.images_per_class == 50]
    (bar,) = (line for line in axes.collections if isinstance(line, LineCollection))
    ((low, high),) = bar.get_segments()
    mean, spread = np.mean(values), np.std(values, ddof=1)
    assert np.allclose((low, high), ((50, mean - spread), (50, mean + spread)))


def test_one_number_of_images_is_drawn_side_by_side(tmp_path: Path) -> None:
    setting = Setting(weights=weights(tmp_path), strategies=("hn-3", "head-4", "lda-4"))
    few = [
        run
        for run in all_finished(fewshot.plan(setting))
        if run.config.images_per_class == (20 if run.config.weights else None)
    ]
    figure = fewshot.render(setting, few).figures["fewshot"]()
    for axes, place in zip(figure.axes, (500, 20), strict=True):
        assert list(axes.get_xticks()) == [place]
        marked = [line.get_xdata()[0] for line in axes.lines if line.get_marker() in ("o", "v", "D")]
        assert len(set(marked)) == len(marked) == 3
        low, high = axes.get_xlim()
        assert all(low < x < high for x in marked)


def test_weights_that_nothing_uses_are_refused(tmp_path: Path) -> None:
    setting = Setting(weights=weights(tmp_path), strategies=("hn-3",))
    console = Console(file=io.StringIO(), width=200)
    with pytest.raises(ConfigError) as error:
        reproduce(["table2"], setting, tmp_path / "out", console, plan_only=True)
    assert "--weights" in error.value.problem
    reproduce(["table2", "fewshot"], setting, tmp_path / "out", console, plan_only=True)


@pytest.mark.parametrize(("scale", "longer"), [("cpu", True), ("smoke", False)])
def test_few_images_are_said_to_be_learned_longer_where_they_are(scale: str, longer: bool) -> None:
    setting = Setting(scale=scale, seeds=(0,))
    output = fewshot.render(setting, all_finished(fewshot.plan(setting)))
    epochs = {config.epochs for config in fewshot.plan(setting)}
    assert (len(epochs) > 1) is longer
    for lines in (*output.captions.values(), *(table.notes for table in output.tables)):
        assert any("four times the epochs" in line for line in lines) is longer
        assert "" not in lines
