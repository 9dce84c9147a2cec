"""`hypertail reproduce` as a user meets it."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hypertail.cli import COMMANDS, main, parse, reproduce
from hypertail.lab.reproduce.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


def test_a_table_from_the_outside() -> None:
    command = ["reproduce", "table2", "--scale", "smoke", "--strategy", "hn-3", "separate-3", "--speed", "full"]
    line = [sys.executable, "-m", "hypertail", *command]
    done = subprocess.run(line, capture_output=True, text=True, env=ENVIRONMENT, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "table2: 2 of 2 runs to make" in done.stdout
    assert "58.8 ± 1.0" in done.stdout
    assert "…" not in done.stdout  # no number is cut off
    assert "written: reproduced/tables/table2-split-cifar100.md" in done.stdout
    with Path("reproduced/tables/table2-split-cifar100.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["strategy"] for row in rows] == ["HN-3", "Separate-3"]
    assert all(0 < float(row["ACA %"]) <= 100 for row in rows)
    again = subprocess.run(line, capture_output=True, text=True, env=ENVIRONMENT, timeout=300, check=False)
    assert again.returncode == 0
    assert "to make" not in again.stdout


def test_counted_tables_need_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    main(["reproduce", "table3", "table6", "--stream", "split-cifar100"])
    out = capsys.readouterr().out
    for count in ("451,661", "1,124,081", "1,272,877", "533,922"):
        assert out.count(count) >= 2  # measured and printed
    names = {path.name for path in Path("reproduced/tables").iterdir()}
    assert names == {f"{stem}.{kind}" for stem in ("table3", "table6-split-cifar100") for kind in ("md", "csv", "tex")}


def test_options() -> None:
    line = (
        "reproduce table2 figure8 --preset printed --scale full --seeds 4 5 --epochs 2 --strategy hn --from a b --plan"
    )
    command = parse(line.split())
    assert isinstance(command, reproduce.Reproduce)
    assert (command.targets, command.preset, command.scale) == (("table2", "figure8"), "printed", "full")
    assert (command.seeds, command.epochs, command.strategy) == ((4, 5), 2, ("hn",))
    assert (command.others, command.plan, command.finished) == ((Path("a"), Path("b")), True, False)
    usual = parse(["reproduce", "table2"])
    assert (usual.preset, usual.scale, usual.out, usual.seeds) == ("tuned", "cpu", Path("reproduced"), None)


def test_help_lists_every_target(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["reproduce", "--help"])
    text = capsys.readouterr().out
    for name in TARGETS:
        assert f"- {name}: " in text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("reproduce tabel2", "unknown table or figure 'tabel2'"),
        ("reproduce", "tables or figures: required at least one; found none. Name table2, say."),
        ("reproduce table2 --scale ful", "unknown scale 'ful'"),
        ("reproduce table2 --from nowhere", "folder of runs 'nowhere': required a folder with finished runs"),
        ("reproduce table2 --epochs 0", "option --epochs: required 1 or more; found 0."),
    ],
)
def test_mistakes(line: str, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        main(line.split())
    assert stop.value.code == 1
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_is_said_of_an_interrupted_command() -> None:
    assert COMMANDS["reproduce"].stopped(["reproduce", "table2"]) == (
        "stopped; the same command continues after the last finished experience"
    )
