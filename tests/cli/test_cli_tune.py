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
from hypertail.cli.run import configs_of
from hypertail.lab.records.runfile import find_runs
from hypertail.recipes.catalogue import usual_options

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


@pytest.mark.slow
def test_two_trials_leave_a_record_and_a_command_that_uses_the_better_one(capsys: pytest.CaptureFixture[str]) -> None:
    done = hypertail("tune", "digits", *TRIES, *SMALL)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 trials of HN-4, seed 0, the first 2 experiences; measured on 10% of the training data" in done.stdout
    assert len(re.findall(r"^trial ./2, penalty-weight \S+, seed 0: validation ACA ", done.stdout, re.MULTILINE)) == 2
    assert {path.name for path in Path("tuning").iterdir()} == {*("trials", "trials.json", "trials.md", "best.json")}
    record = json.loads(Path("tuning/trials.json").read_text())
    assert sorted(trial["options"]["penalty_weight"] for trial in record["trials"]) == [0.01, 0.5]
    best = json.loads(Path("tuning/best.json").read_text())
    assert best["options"] == record["trials"][0]["options"]
    (line,) = re.findall(r"^to use it: (hypertail run .*)$", done.stdout, re.MULTILINE)
    assert line == best["command"]
    used = parse(shlex.split(line)[1:])
    chosen = usual_options("hn").replace(trunk_epochs=1, penalty_weight=best["options"]["penalty_weight"])
    assert [config.options for config in configs_of(used)] == [chosen]
    assert (used.measured.measure_on, used.measured.validation, used.measured.experiences) == ("test", 0.0, None)

    main(["tune", "digits", *TRIES, *SMALL])
    text = capsys.readouterr().out
    assert "2 of them done before" in text
    assert "validation ACA" not in text
    # the trials are runs like any other
    assert {run.config["method"]["penalty_weight"] for run in find_runs(["tuning/trials"])} == {0.01, 0.5}


@pytest.mark.slow
def test_options_reach_the_trials() -> None:
    line = "tune digits --try rank=4..40 --strategy hn-3 --seeds 3 --epochs 1 --batch-size 50 --preset printed "
    line += "--views 1 --experiences 1 --image-size 8 --classes-per-experience 3 --validation 0.25 --lr 0.002 "
    line += "--out here --cache-bytes 1000 --speed full --device cpu --search tpe --trials 1 "
    line += "--objective aca,bytes --tolerance 1"
    main(line.split())
    (path,) = Path("here/trials").glob("rank-*/digits-hn-3-printed-e1-seed3/config.json")
    content: dict[str, Any] = json.loads(path.read_text())
    method = content["method"]
    assert (method["lr"], method["standardise"], method["views"]) == (0.002, False, 1)
    assert 4 <= method["rank"] <= 40
    told = ("strategy", "depth", "seed", "epochs", "batch_size", "experiences", "image_size")
    assert [content[name] for name in told] == ["hn", 3, 3, 1, 50, 1, 8]
    assert (content["classes_per_experience"], content["validation"], content["measure_on"]) == (3, 0.25, "validation")
    record = json.loads(Path("here/trials.json").read_text())
    assert (record["objectives"], record["tolerance"], record["space"]) == (
        ["aca", "bytes"],
        0.01,
        {"rank": {"low": 4, "high": 40}},
    )
    assert record["trials"][0]["front"] is True


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("tune digits --strategy nave", "unknown strategy 'nave': .* Did you mean 'naive'"),
        (
            "tune digits --try penalti-weight=1",
            "unknown option to try 'penalti-weight': .* Did you mean 'penalty-weight'",
        ),
        (
            "tune digits --try rank",
            "option --try rank: required OPTION=VALUE,VALUE or OPTION=LOW..HIGH; found no values.",
        ),
        ("tune digits --try rank=4 --try lr=1", "option --try: required each option once; .* as in --try A B."),
        ("tune digits --try rank=0", "option --rank: required 1 or more; found 0."),
        (
            "tune digits --try rank=4..8",
            "option rank in --try: .* found the range 4..8. List values, or use --search random or tpe",
        ),
        ("tune digits --strategy lr-3 --try rank=4", "option rank in --try: .* found one of hn alone. Leave"),
        ("tune digits --strategy lr-3 --rank 4", "option --rank: .* found one of hn alone. Leave"),
        (
            "tune digits --rank 7 --try rank=4",
            "option rank: required either a fixed value or values to try; found --rank 7",
        ),
        ("tune digits --validation 0", "accuracies on validation data: .* found --validation 0. Add --validation 0.1"),
        ("tune digits --tolerance 100", "tolerance of the choice: required 0 to 100 points of ACA; found 100."),
        ("tune digits --trials 4", "option --trials of a grid: required all 27 combinations of --try; found 4."),
        ("tune digits --seeds", "option --seeds: required at least one value; found none."),
        ("tune digits --jobs 0", "option --jobs: required 1 or more; found 0."),
        ("tune digits --search halving", "option --search: .* found halving, .* Use --search random --prune exp"),
        ("tune digits --prune seeds", "option --prune seeds: required several seeds"),
        ("tune digits --objective bytes", "option --objective: required aca"),
        ("tune digits --report-on digit", "unknown stream 'digit': .* Did you mean 'digits'"),
        ("tune digits --experiences 9", "number of experiences of stream 'digits': required 1 to 5; found 9."),
        ("tune digits --preset foo", "unknown preset 'foo': required one of cosine-trunk, printed, released, tuned"),
    ],
)
def test_bad_input_is_told_in_one_line_and_leaves_nothing(
    line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert re.search(message, fails(capsys, *line.split()))


def test_help_has_the_options_of_the_strategy_alone(capsys: pytest.CaptureFixture[str]) -> None:
    for args, there, elsewhere in (
        (["--strategy", "ewc"], "--ewc-weight", "--penalty-weight"),
        ([], "--penalty-weight", "--ewc-weight"),
    ):
        with pytest.raises(SystemExit):
            main(["tune", *args, "--help"])
        text = capsys.readouterr().out
        assert there in text
        assert elsewhere not in text.partition("positional arguments")[2].replace("penalty-weight=", "")


@pytest.mark.slow
def test_without_optuna_it_says_what_to_install_and_all_else_works() -> None:
    Path("hidden").mkdir()
    Path("hidden/optuna.py").write_text("raise ModuleNotFoundError(\"No module named 'optuna'\", name='optuna')\n")
    path = os.pathsep.join([str(Path("hidden").resolve()), str(ROOT / "src")])
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "100"}

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "hypertail", *args]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)

    done = run("tune", "digits")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: hypertail tune: required the package optuna; found none. pip install 'hypertail[tune]'\n"
    )
    assert run("tune", "--help").returncode == 0
    assert not Path("tuning").exists()


def test_the_command_line_imports_no_optuna() -> None:
    code = "import sys, hypertail.cli; print('optuna' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "False\n"


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
