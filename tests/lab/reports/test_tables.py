"""Grouping over seeds, statistics against numpy, and the texts of a small example."""

from __future__ import annotations

import csv
import io
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.records.runfile import RunFile, TaskInfo
from hypertail.lab.reports.groups import QUANTITIES, Stat, group_runs
from hypertail.lab.reports.tables import (
    build_tables,
    human_bytes,
    time_unit,
    to_csv,
    to_latex,
    to_markdown,
    to_rich,
    with_spread,
)
from support.sample_runs import sample_run, sample_runs, tiny_run

NAN = math.nan


def example() -> list[RunFile]:
    """Naive with two seeds, HN-3 with one that gets better on its first experience, and joint."""
    changes = {"strategy": "naive", "depth": None, "label": "Naive", "bytes_kept": 0, "hypernetwork_parameters": None}
    return [
        tiny_run([[0.5, NAN], [0.6, 0.9]], seconds=30.0, bytes_kept=1_234_567, bytes_kept_parts={}),
        tiny_run([[0.9, NAN], [0.4, 0.8]], seed=0, seconds=10.0, **changes),
        tiny_run([[0.8, NAN], [0.5, 0.9]], seed=1, seconds=12.0, **changes),
        tiny_run([[NAN, NAN], [0.8, 0.9]], seconds=20.0, **(changes | {"strategy": "joint", "label": "Joint"})),
    ]


def test_statistics_over_seeds_are_numpys() -> None:
    for group in group_runs(sample_runs(4, seeds=5)):
        for quantity in QUANTITIES:
            stat = group.stat(quantity)
            if quantity in ("cil", "changed"):  # which these runs did not measure
                assert stat is None
                continue
            values = [getattr(run, quantity, None) or run.metrics.get(quantity, 0) for run in group.runs]
            assert stat is not None
            assert stat.n == 5
            assert stat.mean == pytest.approx(np.mean(values), abs=1e-12)
            assert stat.std == pytest.approx(np.std(values, ddof=1), abs=1e-12)


def test_accuracy_without_tasks_has_a_column_where_a_run_measured_it() -> None:
    untold = tiny_run([[0.9, NAN], [0.8, 0.7]])
    told = replace(untold, strategy="naive", depth=None, label="Naive", hypernetwork_parameters=None)
    way = {"class_means": {"accuracy": 0.625, "right_task": 0.75}, "confidence": {"accuracy": 0.3, "right_task": 0.4}}
    (without,), (table,) = build_tables([told]), build_tables([told, replace(untold, class_incremental=way)])
    assert "CIL %" not in without.columns
    place = table.columns.index("CIL %")
    assert sorted(row[place] for row in table.rows) == ["62.5", "–"]
    (note,) = (note for note in table.notes if note.startswith("CIL: the task is not told"))
    assert "computed over all training images at the end, and are not in bytes kept" in note
    assert "0.625" in to_csv([replace(untold, class_incremental=way)])


def test_changed_answers_have_a_column_where_some_changed() -> None:
    run = tiny_run([[0.9, NAN], [0.9, 0.7]])
    (still,), (table,) = (build_tables([replace(run, answers_changed=(share, 0.0))]) for share in (0.0, 0.125))
    assert "answers changed %" not in still.columns
    assert table.rows[0][table.columns.index("answers changed %")] == "12.5"


def test_one_seed_has_no_spread() -> None:
    assert Stat.of([0.5]) == Stat(0.5, None, 1)


def test_a_metric_that_one_run_lacks_is_undefined() -> None:
    runs = [tiny_run([[0.9, NAN], [0.4, 0.8]]), tiny_run([[NAN, NAN], [0.4, 0.8]], seed=1)]
    (group,) = group_runs(runs)
    assert group.stat("forgetting") is None
    assert group.stat("aca") == Stat(pytest.approx(0.6), 0.0, 2)


def test_order_is_that_of_the_papers_table_then_own_strategies_then_references() -> None:
    kinds: list[tuple[str, int | str | None]] = [
        *[("joint", None), ("mine", None), ("separate", 3), ("hn", "full"), ("hn", 4), ("hn", 2)],
        *[("lr", 3), ("ewc", None), ("lr", 1), ("naive", None)],
    ]
    runs = [sample_run(strategy, depth, n=2) for strategy, depth in kinds]
    assert [group.name for group in group_runs(runs)] == [
        *["Naive", "EWC", "LR-1", "LR-3", "HN-2", "HN-4", "HN-F", "mine", "Separate-3", "Joint"]
    ]


def test_where_a_run_was_made_does_not_split_a_group_and_what_was_run_does() -> None:
    run = sample_run("hn", 3, n=2)
    other_place = replace(run, seed=1, config={**run.config, "seed": 1, "out": "elsewhere", "threads": 8})
    other_run = replace(run, config={**run.config, "penalty": {"weight": 1}})
    groups = group_runs([run, other_place, other_run])
    assert [(group.name, group.seeds) for group in groups] == [
        ("HN-3 (weight=0.03)", (0, 1)),
        ("HN-3 (weight=1)", (0,)),
    ]


def test_an_option_that_an_older_run_lacks_splits_no_group() -> None:
    now = RunConfig("digits", "hn", 3).settled().to_json()
    before = {name: value for name, value in now.items() if name != "images_per_class"}
    run = sample_run("hn", 3, n=2)
    runs = [replace(run, config=before), replace(run, seed=1, config={**now, "seed": 1})]
    (group,) = group_runs(runs)
    assert group.seeds == (0, 1)
    few = replace(run, config={**now, "images_per_class": 9})
    assert [group.variant for group in group_runs([*runs, few])] == ["images_per_class=9", "images_per_class=None"]


def test_options_that_decide_nothing_split_no_group() -> None:
    usual = RunConfig("split-cifar100", "hn", 4)
    recorded = usual.with_options(record_cosine=True, lookahead="first")
    first = usual.with_options(lookahead="first")
    configs = [
        (usual, 0),
        (replace(usual, eval_every=5), 1),
        (usual.with_options(rank=99), 2),  # nothing has a rank at depth 4
        (replace(usual, experiences=2), 3),  # all there are
        (first, 0),
        (recorded, 1),
    ]
    run = sample_run("hn", 4, n=2)
    runs = [replace(run, seed=seed, config=replace(one, seed=seed).settled().to_json()) for one, seed in configs]
    assert [(group.name, group.seeds) for group in group_runs(runs)] == [
        ("HN-4 (lookahead=first)", (0, 1)),
        (f"HN-4 (lookahead={usual.options.get('lookahead')})", (0, 1, 2, 3)),
    ]


def test_an_older_run_without_an_option_that_changed_nothing_splits_no_group() -> None:
    """Before there were `reference_steps`, tasks of as many steps learned as they do with them."""
    config = RunConfig("split-cifar100", "hn", 3).settled().to_json()
    older = {**config, "method": {name: v for name, v in config["method"].items() if name != "reference_steps"}}
    long = replace(sample_run("hn", 3, n=2), epochs=10)
    assert [
        group.seeds for group in group_runs([replace(long, config=config), replace(long, seed=1, config=older)])
    ] == [(0, 1)]
    tasks = tuple(replace(task, train=100) for task in long.tasks)
    short = [replace(long, tasks=tasks, config=config), replace(long, tasks=tasks, seed=1, config=older)]
    assert [group.variant for group in group_runs(short)] == ["reference_steps=1", "reference_steps=400"]


@pytest.mark.parametrize(
    ("options", "others", "names"),
    [
        ({"model": {"name": "a"}}, {"model": {"name": "b"}}, ["HN-3 (name=a)", "HN-3 (name=b)"]),
        ({"loader": {"cache": 1}}, {"loader": {"cache": 2}}, ["HN-3 (cache=1)", "HN-3 (cache=2)"]),
        ({"data": "clean"}, {"data": "noisy"}, ["HN-3 (data=clean)", "HN-3 (data=noisy)"]),
        ({"data": {"name": "x"}}, {"data": {"name": "y"}}, ["HN-3 (name=x)", "HN-3 (name=y)"]),
        ({"data": "/disk/a"}, {"data": "C:\\a"}, ["HN-3"]),
        ({"name": "a", "cache": "x"}, {"name": "b", "cache": "y"}, ["HN-3"]),
        ({"training": {"seed": 0}}, {"training": {"seed": 1}}, ["HN-3"]),
        ({"training": {"seed": 7}}, {"training": {"seed": 8}}, ["HN-3 (seed=7)", "HN-3 (seed=8)"]),
    ],
)
def test_which_options_of_ones_own_are_places(
    options: dict[str, object], others: dict[str, object], names: list[str]
) -> None:
    run = sample_run("hn", 3, n=2)
    groups = group_runs([replace(run, config=options), replace(run, seed=1, config=others)])
    assert [group.name for group in groups] == names


def test_options_whose_last_part_is_ambiguous_keep_their_whole_name() -> None:
    run = sample_run("hn", 3, n=2)
    runs = [replace(run, config={"a": {"lr": x}, "b": {"lr": y}}) for x, y in ((1, 1), (1, 2), (2, 1))]
    assert [group.variant for group in group_runs(runs)] == [*["a.lr=1, b.lr=1", "a.lr=1, b.lr=2", "a.lr=2, b.lr=1"]]


def test_presets_epochs_and_experiences_are_columns_where_they_vary() -> None:
    run = sample_run("hn", 3, n=2)
    runs = [run, replace(run, preset="paper", epochs=100), sample_run("hn", 3, n=3)]
    (table,) = build_tables(runs)
    assert table.title == "split-cifar100"
    assert table.columns[:4] == ("strategy", "experiences", "preset", "epochs")
    assert [row[:4] for row in table.rows] == [
        *[("HN-3", "2", "paper", "100"), ("HN-3", "2", "tuned", "10"), ("HN-3", "3", "tuned", "10")]
    ]
    (table,) = build_tables(runs, in_columns=False)
    assert table.rows[0][0] == "HN-3 (paper, 100 epochs, 2 experiences)"


def test_names_show_the_preset_of_every_row_where_presets_vary() -> None:
    runs = [sample_run("hn", 3, n=2), replace(sample_run("naive", None, n=2), preset="paper")]
    assert [group.name for group in group_runs(runs)] == ["Naive (paper)", "HN-3 (tuned)"]


def test_streams_get_tables_of_their_own() -> None:
    tables = build_tables([sample_run(n=2, stream="noisy"), sample_run(n=2, stream="clean")])
    assert [table.title for table in tables] == [
        "noisy: 2 experiences, preset tuned, 10 epochs per experience",
        "clean: 2 experiences, preset tuned, 10 epochs per experience",
    ]


def test_a_seed_that_occurs_twice_counts_once() -> None:
    first, again, second = (tiny_run([[a]], seed=seed, seconds=10 * a) for a, seed in ((0.5, 0), (0.7, 0), (0.9, 1)))
    (group,) = group_runs([first, again, second])
    assert group.seeds == (0, 1)
    assert group.repeated
    assert group.stat("aca") == Stat(pytest.approx(0.75), pytest.approx(np.std([0.6, 0.9], ddof=1)), 2)
    assert group.stat("seconds") == Stat(pytest.approx(7.5), pytest.approx(np.std([6, 9], ddof=1)), 2)
    (table,) = build_tables([first, again, second])
    assert (table.rows[0][1], table.rows[0][-1]) == ("75.0 ± 21.2", "2")
    (row,) = csv.DictReader(io.StringIO(to_csv([first, again, second])))
    assert (row["n"], row["seeds"]) == ("2", "0 1")


def test_of_a_seed_counts_what_one_of_its_runs_measured() -> None:
    older, newer = tiny_run([[0.9, NAN], [0.9, 0.7]]), tiny_run([[0.9, NAN], [0.9, 0.7]], answers_changed=(0.25, 0.0))
    (group,) = group_runs([older, newer])
    assert group.stat("changed") == Stat(0.25, None, 1)


def test_markdown() -> None:
    assert to_markdown(example()) == (
        "**split-cifar100: 2 experiences, preset tuned, 10 epochs per experience**\n\n"
        "| strategy | ACA % | forgetting % | learning accuracy % | time (s) | bytes kept | n |\n"
        "|:--|--:|--:|--:|--:|--:|--:|\n"
        "| Naive | 65.0 ± 7.1 | 40.0 ± 14.1 | 85.0 ± 0.0 | 11.0 ± 1.4 | 0 B | 2 |\n"
        "| HN-3 | 75.0 | -10.0 | 70.0 | 30.0 | 1.23 MB | 1 |\n"
        "| Joint | 85.0 | – | – | 20.0 | 0 B | 1 |\n\n"
        "- Mean ± sample standard deviation over n seeds. One seed only, spread unknown: "
        "HN-3, Joint.\n"
        "- The rows do not share the same seeds (most: 0; Naive: 0, 1).\n"
        "- Joint trains on all experiences at once, e_1 no longer than the others: no upper bound "
        "(its bytes leave out the data it stores): shown for reference.\n"
    )


def test_times_of_two_devices_say_which_is_which() -> None:
    gpu = {"device": "cuda", "gpu": "NVIDIA H200"}
    runs = [replace(run, hardware=gpu) if run.label == "HN-3" else run for run in example()]
    (table,) = build_tables(runs)
    assert table.columns[-2:] == ("n", "on")
    assert [row[-1] for row in table.rows] == ["CPU", "H200", "CPU"]
    assert [row["on"] for row in csv.DictReader(io.StringIO(to_csv(runs)))] == ["CPU", "H200", "CPU"]
    seeds = [replace(run, hardware=gpu) if run.seed else run for run in example() if run.label == "Naive"]
    assert [row[-1] for row in build_tables(seeds)[0].rows] == ["CPU, H200"]
    assert "on" not in build_tables(example())[0].columns


def test_latex() -> None:
    text = to_latex([replace(run, label=run.label.replace("HN-3", "HN_3 & 50%")) for run in example()])
    assert text[text.index("\\begin") :] == (
        "\\begin{tabular}{lrrrrrr}\n"
        "\\toprule\n"
        "strategy & ACA \\% & forgetting \\% & learning accuracy \\% & time (s) & bytes kept & n \\\\\n"
        "\\midrule\n"
        "Naive & 65.0 $\\pm$ 7.1 & 40.0 $\\pm$ 14.1 & 85.0 $\\pm$ 0.0 & 11.0 $\\pm$ 1.4 & 0 B & 2 \\\\\n"
        "HN\\_3 \\& 50\\% & 75.0 & $-$10.0 & 70.0 & 30.0 & 1.23 MB & 1 \\\\\n"
        "Joint & 85.0 & -- & -- & 20.0 & 0 B & 1 \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
    )
    assert all(line.startswith("% ") for line in text[: text.index("\\begin")].splitlines())


def test_csv() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(example()))))
    assert [row["label"] for row in rows] == ["Naive", "HN-3", "Joint"]
    naive, hypernet, joint = rows
    assert (naive["n"], naive["seeds"], naive["depth"], hypernet["depth"]) == ("2", "0 1", "", "3")
    assert float(naive["aca_mean"]) == pytest.approx(0.65)
    assert float(naive["aca_std"]) == pytest.approx(np.std([0.6, 0.7], ddof=1))
    assert float(hypernet["forgetting_mean"]) == pytest.approx(-0.1)
    assert (hypernet["aca_std"], joint["forgetting_mean"], joint["forgetting_max_mean"]) == ("", "", "")
    assert (hypernet["seconds_mean"], hypernet["bytes_kept_mean"]) == ("30", "1234567")


def test_terminal_fits_80_columns_and_reads_no_markup() -> None:
    runs = [*sample_runs(20, joint=True), sample_run("[red]mine[/red]", None, n=20)]
    console = Console(width=80, record=True, file=io.StringIO())
    for table in to_rich(runs):
        console.print(table)
    text = console.export_text()
    assert "…" not in text
    assert "[red]mine[/" in text
    assert max(map(len, text.splitlines())) <= 80


def test_names_cannot_break_a_table() -> None:
    run = replace(sample_run(n=2), label="a|b\nc")
    assert "| a\\|b c |" in to_markdown([run])


@pytest.mark.parametrize(
    ("size", "text"),
    [
        *[(0, "0 B"), (999, "999 B"), (999.6, "1.00 kB"), (12_345, "12.3 kB")],
        *[(999_499, "999 kB"), (999_500, "1.00 MB"), (5_091_508, "5.09 MB"), (66e6, "66.0 MB")],
        *[(1.5e9, "1.50 GB"), (3e12, "3.00 TB"), (4e16, "40000 TB")],
    ],
)
def test_human_bytes(size: float, text: str) -> None:
    assert human_bytes(size) == text


def test_time_unit() -> None:
    assert time_unit([1.0, 9.0]) == ("s", 1.0, 2)
    assert time_unit([1.0, 299.0]) == ("s", 1.0, 1)
    assert time_unit([1.0, 300.0]) == ("min", 60.0, 2)
    assert time_unit([6 * 3600.0]) == ("h", 3600.0, 2)
    assert time_unit([]) == ("s", 1.0, 2)


def test_no_negative_zero() -> None:
    assert with_spread(Stat(-0.0001, None, 1), 100.0) == "0.0"
    assert with_spread(Stat(-0.01, 0.02, 2), 100.0) == "-1.0 ± 2.0"
    assert with_spread(None) == "–"


def notes_of(*runs: RunFile) -> str:
    (table,) = build_tables(runs)
    return "\n".join(table.notes)


def test_notes_say_what_limits_the_comparison() -> None:
    run = sample_run("hn", 3, n=2)
    other = sample_run("naive", None, n=2)
    assert notes_of(run, other) == "One seed per row (n = 1): the spread over seeds is unknown."
    tasks = (TaskInfo("x", ("a",), 1, 1), TaskInfo("y", ("b",), 1, 1))
    for changed, note in (
        (replace(other, tasks=tasks), "Not all runs learned the same experiences (seed 0): compare with care."),
        (
            replace(other, hardware={"device": "cuda"}),
            "Times come from different machines or thread counts: do not compare them.",
        ),
        (
            replace(other, hardware={**other.hardware, "threads": 7}),
            f"CPU threads differ ({run.hardware['threads']}, 7): results may differ in the last digits for it.",
        ),
        (
            replace(other, versions={**other.versions, "torch": "2.6.0"}),
            "The runs were made with different versions: torch 2.13.0, 2.6.0.",
        ),
        (
            replace(other, config={"measure_on": "validation"}),
            "Measured on held-out training data, not on the test set: Naive.",
        ),
        (replace(other, seed=7), "The rows do not share the same seeds (most: 7; HN-3: 0)."),
    ):
        assert note in notes_of(run, changed).splitlines()
        assert note not in notes_of(run, other).splitlines()
    note = "A seed that occurs more than once counts once, by the mean of its runs: HN-3."
    assert note in notes_of(run, run).splitlines()


def test_importing_tables_does_not_import_matplotlib() -> None:
    code = "import sys, hypertail.lab.reports.tables, hypertail.lab.reports.figures; print('matplotlib' in sys.modules)"
    source = str(Path(__file__).parents[3] / "src")
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert result.stdout.strip() == "False"
