"""Accuracy against bytes: the numbers are those of the runs, and of the sizes that `hypertail info` counts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hypertail.lab.experiments.library import FinishedRun, Library
from hypertail.lab.experiments.sizes import describe
from hypertail.lab.reports.papertable import Number
from hypertail.lab.reproduce.figures import memory
from hypertail.lab.reproduce.growth import bytes_a_task, bytes_after, hypernetwork_bytes
from hypertail.lab.reproduce.setting import Setting
from hypertail.lab.reproduce.tables import table2
from hypertail.recipes.catalogue import usual_options
from support.made_runs import all_finished, finished

ROOT = Path(__file__).resolve().parents[3]
COMMITTED = ROOT / "results" / "reproduced" / "runs"
THREE = Setting()


def made(strategy: str, own: int, shared: int = 0, tasks: int = 20) -> FinishedRun:
    """A run that keeps so many bytes of each task, beside shared ones."""
    (config,) = Setting(seeds=(0,)).config("split-cifar100", strategy)
    sizes = tuple(shared + own * (task + 1) for task in range(tasks))
    run = finished(config)
    return replace(run, run=replace(run.run, bytes_kept=sizes[-1], bytes_per_experience=sizes))


def test_runs_are_those_of_table_2() -> None:
    ours = [config.identity() for config in table2.plan(THREE)]
    assert all(config.identity() in ours for config in memory.plan(THREE))
    assert len(memory.plan(THREE)) == 10 * 3
    assert memory.plan(Setting(streams=("split-tinyimagenet",))) == ()


@pytest.mark.parametrize(
    "path", sorted(COMMITTED.glob("split-cifar100-hn-*/run.json")), ids=lambda path: path.parent.name
)
def test_hypernetworks_are_counted_as_runs_recorded_them(path: Path) -> None:
    (run,) = Library.of([path]).runs
    parts = run.run.bytes_kept_parts
    counted = hypernetwork_bytes(run.config, run.config.options.get("head_width") or 5, len(run.run.tasks))
    assert counted == parts["hypernetwork"] + parts["statistics"]


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_a_hypernetwork_grows_as_info_counts_it(depth: int) -> None:
    run = made("hn-3" if depth == 3 else f"hn-{depth}", own=0, shared=5_000_000)
    run = replace(run, run=replace(run.run, hypernetwork_parameters=1))
    options = usual_options("hn")
    sizes = {tasks: describe(depth, tasks=tasks, classes=5, options=options) for tasks in (20, 200, 1000)}
    assert bytes_after(run, 20) == run.run.bytes_kept
    for tasks in (200, 1000):
        more = sum(
            getattr(sizes[tasks], name) - getattr(sizes[20], name)
            for name in ("hypernetwork_bytes", "statistics_bytes")
        )
        assert bytes_after(run, tasks) == run.run.bytes_kept + more


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_separate_tails_grow_as_info_counts_them(depth: int) -> None:
    counted = {tasks: describe(depth, tasks=tasks, classes=5, options=usual_options("hn")) for tasks in (1, 20, 1000)}
    run = made(f"separate-{depth}", own=counted[1].separate_bytes)
    assert bytes_after(run, 20) == counted[20].separate_bytes
    assert bytes_after(run, 1000) == counted[1000].separate_bytes
    (path,) = COMMITTED.glob(f"split-cifar100-separate-{depth}-*/run.json")
    assert json.loads(path.read_text(encoding="utf-8"))["bytes_kept"] == counted[20].separate_bytes


def test_what_is_shared_counts_once() -> None:
    run = made("lda-4", own=3_000, shared=100_000)
    assert bytes_after(run, 200) == 100_000 + 200 * 3_000
    assert bytes_a_task(run) == (100_000 + 20 * 3_000) / 20
    short = replace(run, run=replace(run.run, bytes_per_experience=()))
    assert bytes_after(short, 20) == run.run.bytes_kept
    assert bytes_after(short, 200) is None


def test_both_panels_and_the_table_show_the_accounting() -> None:
    runs = all_finished(memory.plan(THREE))
    output = memory.render(THREE, runs)
    (table,) = output.tables
    left, right = output.figures["bytes"]().axes
    places = np.array([line.get_xydata()[0] for line in left.lines if len(line.get_xydata()) == 1])
    lines = [line.get_xydata() for line in right.lines if len(line.get_xydata()) > 3]
    assert len(table.rows) == len(lines) == 10
    for label, aca, _, each, *sizes, n in table.rows:
        own = [run for run in runs if run.config.label == label]
        accuracies = [100 * float(run.run.metrics["aca"] or 0) for run in own]
        wanted = (np.mean([bytes_a_task(run) for run in own]), np.mean(accuracies))
        assert any(np.allclose(place, wanted) for place in places)
        assert isinstance(aca, Number)
        assert isinstance(each, Number)
        assert (aca.mean, aca.std) == (pytest.approx(wanted[1]), pytest.approx(np.std(accuracies, ddof=1)))
        assert each.mean == pytest.approx(wanted[0])
        assert str(n) == "3"
        for tasks, size in zip(memory.TASKS, sizes, strict=True):
            counted = bytes_after(own[0], tasks)
            assert isinstance(size, Number)
            assert size.mean == counted
            assert any(any(np.allclose(point, (tasks, counted)) for point in line) for line in lines)


def test_without_runs_there_is_an_empty_table() -> None:
    output = memory.render(THREE, ())
    assert not output.figures
    assert all(cell is None for row in output.tables[0].rows for cell in row[1:])
