"""Numbers and tables of reproduced targets: what is shown, and what the files hold."""

from __future__ import annotations

import csv
import io

import pytest

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.library import matching
from hypertail.lab.reports.papertable import Number, PaperTable
from hypertail.lab.reports.tables import latex_table, markdown_table
from support.made_runs import all_finished, finished

TABLE = PaperTable(
    "table9",
    "Rows",
    ("strategy", "ACA %", "ACA % paper", "bytes kept"),
    (
        ("HN-3", Number(75.31, 1.26), Number(58.8, 1.0), Number(4_550_000, unit="bytes")),
        ("LR-3", None, Number(50.1, 2.2), None),
        ("Naive", Number(34.35), None, Number(0, unit="bytes")),
    ),
    ("n = 2.",),
)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Number(12.345), "12.3"),
        (Number(12.345, 0.06), "12.3 ± 0.1"),
        (Number(-0.04), "0.0"),
        (Number(-1.26), "-1.3"),
        (Number(1272877, digits=0), "1,272,877"),
        (Number(2.3437, digits=2), "2.34"),
        (Number(4_550_000, unit="bytes"), "4.55 MB"),
    ],
)
def test_numbers_as_text(number: Number, text: str) -> None:
    assert str(number) == text


def test_numbers_of_several_seeds() -> None:
    assert Number.of([]) is None
    assert Number.of([3.0]) == Number(3.0, None)
    several = Number.of([1.0, 3.0])
    assert several is not None
    assert (several.mean, several.std) == (2.0, pytest.approx(2**0.5))


def test_markdown() -> None:
    assert markdown_table(TABLE.shown) == (
        "**Rows**\n\n| strategy | ACA % | paper | bytes kept |\n|:--|--:|--:|--:|\n"
        "| HN-3 | 75.3 ± 1.3 | 58.8 ± 1.0 | 4.55 MB |\n| LR-3 | – | 50.1 ± 2.2 | – |\n| Naive | 34.4 | – | 0 B |\n"
        "\n- n = 2.\n"
    )


def test_latex() -> None:
    assert r"HN-3 & 75.3 $\pm$ 1.3 & 58.8 $\pm$ 1.0 & 4.55 MB \\" in latex_table(TABLE.shown)


def test_csv_keeps_full_precision_and_gives_spreads_a_column() -> None:
    rows = list(csv.DictReader(io.StringIO(TABLE.to_csv())))
    assert list(rows[0]) == ["strategy", "ACA %", "ACA % std", "ACA % paper", "ACA % paper std", "bytes kept"]
    assert rows[0] == {
        **{"strategy": "HN-3", "ACA %": "75.31", "ACA % std": "1.26"},
        **{"ACA % paper": "58.8", "ACA % paper std": "1", "bytes kept": "4550000"},
    }
    assert rows[1]["ACA %"] == rows[1]["bytes kept"] == rows[2]["ACA % paper"] == ""
    assert rows[2]["bytes kept"] == "0"


def test_runs_are_found_by_what_decides_their_outcome() -> None:
    hn, naive = RunConfig("digits", "hn", 3), RunConfig("digits", "naive")
    runs = all_finished([naive, hn])
    assert matching(runs, [hn, naive]) == (runs[1], runs[0])
    assert matching(runs, [RunConfig("digits", "hn", 3, preset="printed")]) == (runs[1],)
    assert matching(runs, [RunConfig("digits", "hn", 3, seed=1)]) == ()
    assert matching([finished(hn), finished(hn)], [hn]) == (finished(hn),)  # once, however often it was made


def test_a_run_that_did_not_record_what_is_asked_for_is_not_found() -> None:
    asked = RunConfig("digits", "hn", 3, eval_every=2, options=dict(record_cosine=True))
    plain = finished(RunConfig("digits", "hn", 3))
    full = finished(RunConfig("digits", "hn", 3, eval_every=1, options=dict(record_cosine=True)))
    assert matching([plain], [asked]) == ()
    assert matching([plain, full], [asked]) == (full,)


def test_learning_time_leaves_evaluation_out() -> None:
    run = finished(RunConfig("digits", "hn", 3))
    rest = run.run.seconds_by_phase
    assert run.learning_seconds == pytest.approx(run.run.seconds - rest["evaluation"])
