"""What report, quickstart and info do, called in this process."""

from __future__ import annotations

import io
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from hypertail.cli import info, main, quickstart, report
from hypertail.cli.run import folders
from hypertail.errors import ConfigError, DataError
from hypertail.lab.experiments import batch
from hypertail.lab.experiments.config import RunConfig, expand
from hypertail.lab.experiments.place import stream_of
from hypertail.lab.records.runfile import FILE_NAME
from hypertail.lab.reports.tables import to_rich
from hypertail.lab.reproduce.reproduce import reproduce
from hypertail.lab.reproduce.setting import Setting
from hypertail.lab.reproduce.targets import TARGETS
from support.sample_runs import sample_runs


def console(width: int = 100) -> tuple[Console, io.StringIO]:
    written = io.StringIO()
    return Console(file=written, width=width, color_system=None), written


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for number, run in enumerate(sample_runs(n=3, seeds=1)):
        run.write(tmp_path / "runs" / str(number) / FILE_NAME)
    return tmp_path / "runs"


def test_one_table() -> None:
    screen, written = console(200)
    for table in to_rich(sample_runs(n=3, seeds=2)):
        screen.print(table)
    text = written.getvalue()
    assert text.count("ACA") == 1
    assert text.count("Naive") == text.count("LR-2") == 1


def test_report_overwrites_only_when_told(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "[b]new" / "report.html"
    screen, written = console()
    report.execute(report.Report((runs,), out), screen, "")
    assert f"report: {out.resolve()}" in written.getvalue()
    out.write_text("mine")
    with pytest.raises(ConfigError) as error:
        report.execute(report.Report((runs,), out), screen, "")
    assert (error.value.problem, error.value.hint) == (f"report {out}", "Use another --out, or --overwrite.")
    assert out.read_text() == "mine"
    # a folder is where `report.html` goes
    with pytest.raises(ConfigError) as error:
        report.execute(report.Report((runs,), out.parent), screen, "")
    assert error.value.problem == f"report {out}"
    report.execute(report.Report((runs,), out, overwrite=True), screen, "")
    assert "<html" in out.read_text()


def test_report_into_a_folder(runs: Path, tmp_path: Path) -> None:
    screen, written = console()
    report.execute(report.Report((runs,), tmp_path), screen, "")
    assert f"report: {tmp_path.resolve() / 'report.html'}" in written.getvalue()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no names that are not UTF-8")
def test_a_name_that_is_not_utf8_is_printed_as_it_is(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, written = tmp_path / os.fsdecode(b"r\xe9sum\xe9.html"), io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "utf-8", errors="strict", write_through=True))
    main(["report", str(runs), "--out", str(out)])
    assert b"r\xe9sum\xe9.html" in written.getvalue()


def test_report_without_runs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"required at least one run.json, in it or in a folder below; found none"):
        report.execute(report.Report((tmp_path,), tmp_path / "report.html"), console()[0], "")
    assert not (tmp_path / "report.html").exists()


def test_report_of_tables_that_no_run_was_needed_for(tmp_path: Path) -> None:
    folder, out = tmp_path / "reproduced", tmp_path / "report.html"
    screen, _ = console()
    reproduce(("table3",), Setting(scale="smoke"), folder, screen)
    assert not any(folder.rglob(FILE_NAME))
    report.execute(report.Report((folder,), out), screen, "")
    assert TARGETS["table3"].sentence.split(".")[0] in out.read_text(encoding="utf-8")


def test_info_fits_eighty_columns() -> None:
    screen, written = console(80)
    info.execute(info.Info(depth="3", tasks=20, classes=100), screen, "")
    text = written.getvalue()
    assert "924,322" in text
    assert "3.70 MB" in text
    assert "80×8×8" in text
    assert "…" not in text


def test_quickstart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = RunConfig("digits", "naive", experiences=2, image_size=8, images_per_class=8)
    monkeypatch.setattr(quickstart, "STRATEGIES", ("naive", "hn-4"))
    monkeypatch.setattr(batch, "stream_of", lambda config, data: stream_of(replace(small, seed=config.seed), data))
    for _ in range(2):  # made anew each time
        screen, written = console()
        quickstart.execute(quickstart.Quickstart(tmp_path / "q", epochs=1), screen, "hypertail quickstart")
        path = tmp_path / "q" / "report.html"
        assert "<html" in path.read_text()
        assert f"report with pictures: {path.resolve()}" in written.getvalue()
        assert "HN-4" in written.getvalue()


def test_quickstart_names_what_it_compares() -> None:
    base = RunConfig("digits", "naive")
    assert [config.label for config in expand(quickstart.STRATEGIES, (), (0,), base)] == [
        *("Naive", "EWC", "LR-2", "HN-2", "HN-F", "Separate-2")
    ]


def test_the_folder_of_runs_is_named_where_it_holds_no_others(tmp_path: Path) -> None:
    made = [tmp_path / name for name in ("a", "b", "c")]
    for place in made:
        place.mkdir()
        (place / "run.json").touch()
    assert folders(made) == [tmp_path]
    assert folders(made[:2]) == made[:2]
    assert folders(made[:1]) == made[:1]
    assert folders([*made, tmp_path / "other" / "d"]) == [*made, tmp_path / "other" / "d"]
