"""`hypertail tune` as a user meets it."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hypertail.cli import main, parse, tune
from hypertail.lab.records.runfile import find_runs
from hypertail.recipes.method import Method

ROOT = Path(__file__).resolve().parents[2]
SMALL = (
    *("--strategy", "hn-4", "--experiences", "2", "--image-size", "8"),
    *("--epochs", "1", "--trunk-epochs", "1", "--batch-size", "32"),
)
TRIES = ("--try", "penalty-weight=0.01,0.5")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


def hypertail(*args: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    command = [sys.executable, "-m", "hypertail", *args]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


def fails(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """Runs a command that must fail with one line and leave nothing behind; gives the line."""
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert list(Path().iterdir()) == []
    return err


def test_two_trials_leave_a_record_and_a_command_that_uses_the_better_one(capsys: pytest.CaptureFixture[str]) -> None:
    done = hypertail("tune", "digits", *TRIES, *SMALL)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 trials of HN-4, seed 0, the first 2 experiences; measured on 10% of the training data" in done.stdout
    assert len(re.findall(r"^trial ./2, penalty-weight \S+, seed 0: validation ACA ", done.stdout, re.MULTILINE)) == 2
    assert {path.name for path in Path("tuning").iterdir()} == {*("trials", "trials.json", "trials.md", "best.json")}
    record = json.loads(Path("tuning/trials.json").read_text())
    assert sorted(trial["switches"]["penalty_weight"] for trial in record["trials"]) == [0.01, 0.5]
    best = json.loads(Path("tuning/best.json").read_text())
    assert best["switches"] == record["trials"][0]["switches"]
    (line,) = re.findall(r"^to use it: (hypertail run .*)$", done.stdout, re.MULTILINE)
    assert line == best["command"]
    used = parse(shlex.split(line)[1:])
    assert used.method == Method(trunk_epochs=1, penalty_weight=best["switches"]["penalty_weight"])
    assert (used.measured.measure_on, used.measured.validation, used.measured.experiences) == ("test", 0.0, None)

    main(["tune", "digits", *TRIES, *SMALL])
    assert capsys.readouterr().out.count("finished before") == 2
    # the trials are runs like any other
    assert {run.config["method"]["penalty_weight"] for run in find_runs(["tuning/trials"])} == {0.01, 0.5}


def test_options_reach_the_trials() -> None:
    line = "tune digits --try rank=4 --strategy hn-3 --seeds 3 --epochs 1 --batch-size 50 --preset printed --views 1"
    line += " --experiences 1 --image-size 8 --classes-per-experience 3 --validation 0.25 --lr 0.002 --out here"
    main(
        [
            *line.split(),
            "--cache-bytes",
            "1000",
            "--speed",
            "full",
            "--device",
            "cpu",
            "--search",
            "random",
            "--trials",
            "1",
        ]
    )
    content: dict[str, Any] = json.loads(
        Path("here/trials/rank-4/digits-hn-3-printed-e1-seed3/config.json").read_text()
    )
    method = content["method"]
    assert (method["rank"], method["lr"], method["standardise"]) == (4, 0.002, False)
    told = ("strategy", "depth", "seed", "epochs", "batch_size", "views", "experiences", "image_size")
    assert [content[name] for name in told] == ["hn", 3, 3, 1, 50, 1, 1, 8]
    assert (content["classes_per_experience"], content["validation"], content["measure_on"]) == (3, 0.25, "validation")
    assert json.loads(Path("here/trials.json").read_text())["trials"][0]["n"] == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("tune digits --strategy nave", "unknown strategy 'nave': .* Did you mean 'naive'"),
        (
            "tune digits --try penalti-weight=1",
            "unknown switch to try 'penalti-weight': .* Did you mean 'penalty-weight'",
        ),
        (
            "tune digits --try rank",
            "option --try rank: required SWITCH=VALUE,VALUE or SWITCH=LOW..HIGH; found no values.",
        ),
        ("tune digits --try rank=4 --try lr=1", "option --try: required each option once; .* as in --try A B."),
        ("tune digits --try rank=0", "option --rank: required 1 or more; found 0."),
        (
            "tune digits --try rank=4..8",
            "switch rank in --try: .* found the range 4..8. List values, or use --search ran",
        ),
        (
            "tune digits --strategy lr-3 --try rank=4",
            "switch rank in --try: .* found one that concerns hn alone. Leave",
        ),
        (
            "tune digits --rank 7 --try rank=4",
            "switch rank: required either a fixed value or values to try; found --rank 7",
        ),
        ("tune digits --validation 0", "accuracies on validation data: .* found --validation 0. Add --validation 0.1"),
        ("tune digits --tolerance 100", "tolerance of the choice: required 0 to 100 points of ACA; found 100."),
        ("tune digits --trials 4", "option --trials of a grid: required all 27 combinations of --try; found 4."),
        ("tune digits --seeds", "option --seeds: required at least one value; found none."),
        ("tune digits --experiences 9", "number of experiences of stream 'digits': required 1 to 5; found 9."),
        ("tune digits --preset foo", "unknown preset 'foo': required one of printed, released, tuned"),
    ],
)
def test_bad_input_is_told_in_one_line_and_leaves_nothing(
    line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert re.search(message, fails(capsys, *line.split()))


def test_an_interrupted_search_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tune, "tune", interrupt)
    with pytest.raises(SystemExit) as stop:
        main(["tune", "digits", "--out", "a b"])
    assert stop.value.code == 130
    assert capsys.readouterr().err == (
        "stopped; the same command goes on where it was: hypertail tune digits --out 'a b'\n"
    )
