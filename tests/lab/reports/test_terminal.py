"""Tables on a narrow terminal: nothing is cut off, and nothing is wider than it must be."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest
from rich.console import Console
from rich.table import Table as RichTable

from hypertail.cli.compare import shown
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.reports.tables import Table, rich_table, to_rich
from hypertail.lab.reports.terminal import print_table
from hypertail.lab.reports.verdict import verdicts
from hypertail.lab.reports.verdicttable import verdict_table
from hypertail.lab.reproduce.setting import Setting
from hypertail.lab.reproduce.targets import TARGETS
from hypertail.lab.tuning.importances import Importances
from hypertail.lab.tuning.plan import Search
from hypertail.lab.tuning.table import build_table, for_terminal, importance_table
from hypertail.lab.tuning.trials import Trial
from support.made_runs import all_finished
from support.sample_runs import sample_runs

WIDTHS = (20, 40, 60, 80, 100, 120, 200)
NUMBERS = tuple(f"{10 * place}.0 ± {place}.5" for place in range(1, 8))
TABLE = Table(
    "A title", ("strategy", *(f"metric{place} %" for place in range(1, 8))), (("HN-3", *NUMBERS),), ("Note.",)
)


def printed(table: Table | RichTable, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_table(console, rich_table(table) if isinstance(table, Table) else table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", WIDTHS)
def test_every_cell_is_whole(width: int) -> None:
    text = printed(TABLE, width)
    (row,) = (line for line in text.splitlines() if "HN-3" in line)
    assert row.split("  ")[0].strip() == "HN-3"
    assert all(cell in row for cell in NUMBERS)
    assert "Note." in text
    assert "…" not in text


def test_a_table_that_fits_is_no_wider_than_the_terminal() -> None:
    long = Table("T", ("strategy", "ACA %"), (("HN-3 (" + "tail-start pretrained, " * 4 + ")", "80.0"),), ())
    assert max(map(len, printed(long, 60).splitlines())) <= 60  # names fold


@cache
def of_commands() -> tuple[tuple[str, RichTable], ...]:
    return tuple(_of_commands())


def _of_commands() -> Iterator[tuple[str, RichTable]]:
    """Every table that compare, run, reproduce and tune print, of made-up runs."""
    runs = sample_runs(3, seeds=2, joint=True)
    gpu = {"device": "cuda", "gpu": "NVIDIA H200"}
    runs = [replace(run, hardware=gpu, answers_changed=(0.1,) * 3) if run.seed else run for run in runs]
    fresh = [replace(run, config={**run.config, "tail_start": "pretrained"}) for run in runs if run.strategy == "hn"]
    (verdict,) = verdicts([*runs, *fresh, *(replace(run, seed=7) for run in runs[:1])])
    yield "compare", shown(verdict_table(verdict))
    yield from (("run", table) for table in to_rich([*runs, *fresh]))
    setting = Setting(seeds=(0, 1))
    for name in ("table1", "table2", "table4", "fewshot", "bytes"):
        target = TARGETS[name]
        for table in target.render(setting, all_finished(target.plan(setting))).tables:
            yield name, rich_table(table.shown)
    search = Search(
        RunConfig("digits", "hn", 3, validation=0.1, measure_on="validation"),
        {"penalty_weight": (0.01, 0.03), "rank": (16, 32)},
    )
    trials = [Trial({"penalty_weight": 0.01, "rank": rank}, runs=(runs[0],)) for rank in (16, 32)]
    yield "tune", rich_table(for_terminal(build_table(trials, search)))
    yield "tune", rich_table(importance_table(Importances("fANOVA", {"penalty_weight": 0.7, "rank": 0.3}, 9)))


@pytest.mark.parametrize("width", WIDTHS)
def test_every_word_of_every_command_is_whole(width: int) -> None:
    for command, table in of_commands():
        words = {
            word for column in table.columns for cell in (column.header, *column.cells) for word in str(cell).split()
        }
        lost = words - set(printed(table, width).split())
        assert not lost, (command, width)


def test_the_last_column_is_whole_where_names_fold() -> None:
    """What is taken from the names is not taken from the words of the verdict."""
    table = Table(
        "",
        ("method", *(f"metric{place} %" for place in range(1, 5)), "verdict"),
        (("Separate-3 (tail-start pretrained)", *NUMBERS[:4], "all data"), ("HN-3", *NUMBERS[:4], "not paired")),
        (),
    )
    text = printed(shown(table), 80)
    assert {"Separate-3", "(tail-start", "pretrained)", "verdict", "data", "paired"} <= set(text.split())
    assert max(map(len, text.splitlines())) <= 80
