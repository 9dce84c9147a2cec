"""`hypertail compare`, as a user runs it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from hypertail.cli import main
from hypertail.lab.records.runfile import FILE_NAME
from support.commands import told
from support.sample_runs import sample_runs


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    for number, run in enumerate(sample_runs(n=3, seeds=3, joint=True)):
        run.write(tmp_path / "runs" / str(number) / FILE_NAME)
    return tmp_path / "runs"


def printed(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    main(["compare", *args])
    return capsys.readouterr().out.replace("\N{NO-BREAK SPACE}", " ")


def test_tables_and_sentences(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "runs")
    assert text.startswith("split-cifar100, 3 tasks of 5 classes, 500 images a class, 10 epochs a task\n")
    for name in ("Naive", "LR-2", "HN-2", "HN-F", "Separate-3", "Joint", "best", "all data"):
        assert name in text
    words = " ".join(text.split())
    for sentence in ("- Best of 6 methods: ", "- Best for its bytes a task, ", "- Best hypernetwork: HN-2"):
        assert sentence in words
    assert words.count("How to read the tables") == 1
    assert "Best by data" not in words  # one kind of data
    assert max(map(len, text.splitlines())) <= 100


def test_eighty_columns_are_enough(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = printed(capsys, "runs")
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert len(re.findall(r" (?:best|within|behind|all data|data) *$", text, re.MULTILINE)) >= 7


def test_several_paths_and_conditions(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, run in enumerate(sample_runs(n=2, seeds=1)):
        replace(run, stream="[b]other").write(runs.parent / "more" / str(number) / FILE_NAME)
    text = printed(capsys, "runs/0", "runs/3/run.json", "more")
    assert "[b]other, 2 tasks of 5 classes" in text
    assert text.count("- Best of 2 methods") == text.count("- Best of 6 methods") == 1
    assert "Best by data" in text
    assert "One seed: the spread of every difference is unknown" in " ".join(text.split())


def test_json(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "runs", "--json", "verdict.json")
    assert f"written: {Path('verdict.json').resolve()}" in text
    (verdict,) = json.loads(Path("verdict.json").read_text(encoding="utf-8"))
    assert verdict["conditions"]["stream"] == "split-cifar100"
    assert [method["mark"] for method in verdict["methods"]].count("best") == 1
    Path("verdict.json").write_text("mine")
    told(capsys, "compare", "runs", "--json", "verdict.json", problem="verdict.json", hint=("--json", "--overwrite"))
    assert Path("verdict.json").read_text() == "mine"
    printed(capsys, "runs", "--json", "verdict.json", "--overwrite")
    assert json.loads(Path("verdict.json").read_text(encoding="utf-8"))


def test_failures(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, "compare", "nowhere", problem="'nowhere'", required="run.json", found="nothing there")
    Path("empty").mkdir()
    told(capsys, "compare", "empty", problem="'empty'", required="at least one run.json", found="none")
