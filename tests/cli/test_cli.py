"""The command line as a user meets it: what it prints, what it leaves behind, and what it says when it cannot."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from hypertail.cli import COMMANDS, main, parse, quickstart, run
from hypertail.lab.experiments.config import RunConfig
from hypertail.recipes.catalogue import option_groups, usual_options
from hypertail.recipes.presets import PRESETS
from hypertail.streams import STREAMS
from support.commands import ENVIRONMENT, Failure, failure, hypertail, told
from support.errors import Texts

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--experiences", "2", "--image-size", "8", "--epochs", "1", "--trunk-epochs", "1", "--speed", "full")

# `python -m hypertail` that heeds an interrupt even where the tests run in the background, whose children ignore it
START = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("hypertail", run_name="__main__", alter_sys=True)
"""

Fails = Callable[..., Failure]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Fails:
    """Runs a command that must fail with one line of these fields, print nothing else and leave nothing behind."""

    def run(*args: str, **fields: Texts) -> Failure:
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        failed = told(capsys, *args, **fields) if fields else failure(capsys, *args)
        assert failed.out == ""
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
        return failed

    return run


def accuracy(folder: str | Path) -> Any:
    return json.loads(Path(folder, "run.json").read_text())["accuracy"]


# --- a whole comparison ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_strategies_depths_and_seeds_make_a_directory_each_and_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    main(["run", "digits", "--strategy", "hn", "naive", "--depth", "4", "3", "--seeds", "0", "1", *SMALL])
    out, err = capsys.readouterr()
    assert err == ""
    names = [f"digits-{label}-tuned-e1-seed{seed}" for seed in (0, 1) for label in ("hn-4", "hn-3", "naive")]
    assert {path.name for path in Path("runs").iterdir()} == {*names, "trunks"}
    assert len(list(Path("runs/trunks").iterdir())) == 2
    for name in names:
        content = json.loads(Path("runs", name, "run.json").read_text())
        assert content["epochs"] == 1
        assert content["command"].startswith("hypertail run digits --strategy hn naive --depth 4 3 --seeds 0 1")
    assert out.count("seed 1: ACA ") == 3
    assert len(re.findall(r"^ *(?:HN-4|HN-3|Naive) .*±", out, re.MULTILINE)) == 3
    (again,) = re.findall(r"^pictures: hypertail (report .*)$", out, re.MULTILINE)
    main([*shlex.split(again), "--out", "picture.html"])
    assert "HN-4" in Path("picture.html").read_text()


@pytest.mark.slow
@pytest.mark.crash
def test_interrupted_then_continued_is_bitwise_the_uninterrupted_run(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--strategy", "hn-4", "--experiences", "3", "--image-size", "8", "--epochs", "6", "--trunk-epochs", "1")
    options += ("--speed", "full")
    name = "digits-hn-4-tuned-e6-seed0"
    process = subprocess.Popen(
        [sys.executable, "-c", START, "run", "digits", *options, "--existing", "replace", "--out", "my [runs]"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    until = time.monotonic() + 120
    while not Path("my [runs]", name, "checkpoint.safetensors").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in out + err
    line = err.removeprefix("stopped; what was learned is saved; to continue: ").strip()
    assert line == f"hypertail run digits {shlex.join(options)} --out 'my [runs]' --existing reuse"
    assert not Path("my [runs]", name, "run.json").exists()

    main(shlex.split(line)[1:])
    assert f"my [runs]/{name}" in capsys.readouterr().out
    main(["run", "digits", *options])
    assert accuracy(Path("my [runs]", name)) == accuracy(Path("runs", name))


# --- from the outside, where every start takes seconds: each way out once ----------------------------------------


@pytest.mark.slow
def test_what_goes_well_and_what_does_not_from_the_outside() -> None:
    done = hypertail("info", "--depth", "3", "--classes", "100", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["hypernetwork_parameters"] == 924322
    done = hypertail("run", "digits", "--strategy", "nave")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"error: unknown strategy 'nave': .*'naive'.*\n", done.stderr)


def test_the_script_is_the_module() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"hypertail": "hypertail.__main__:main"}


@pytest.mark.slow
def test_a_reader_who_leaves_is_no_error() -> None:
    command = f"{shlex.quote(sys.executable)} -m hypertail info --depth 4 | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.stderr == ""


# --- the same, from the inside -----------------------------------------------------------------------------------


def test_a_run_that_exists_is_kept_reused_or_replaced(fails: Fails, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("run", "digits", "--strategy", "separate-4", *SMALL)
    main(command)
    first = accuracy("runs/digits-separate-4-tuned-e1-seed0")
    capsys.readouterr()
    place = "run directory runs/digits-separate-4-tuned-e1-seed0"
    fails(*command, problem=place, hint=("--out", "--existing reuse", "--existing replace"))
    other = (*command, "--lr", "0.5", "--existing", "reuse")
    fails(*other, problem=place, found="lr 0.001 (asked for: 0.5)", hint=("--out", "--existing replace"))
    before = Path("runs/digits-separate-4-tuned-e1-seed0/run.json").read_bytes()
    main([*command, "--existing", "reuse"])
    assert "finished before" in capsys.readouterr().out
    assert Path("runs/digits-separate-4-tuned-e1-seed0/run.json").read_bytes() == before
    main([*command, "--existing", "replace"])
    assert "finished before" not in capsys.readouterr().out
    assert accuracy("runs/digits-separate-4-tuned-e1-seed0") == first  # the same command, the same numbers


def test_after_a_mistake_the_corrected_command_works(fails: Fails, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("run", "digits", "--strategy", "separate-4", *SMALL)
    fails(*command, "--measure-on", "validation", hint="--validation 0.1")
    main([*command, "--measure-on", "validation", "--validation", "0.1"])
    assert "ACA" in capsys.readouterr().out


def test_options_reach_the_run_file() -> None:
    options = {
        **{"seeds": 7, "epochs": 2, "batch_size": 50, "preset": "printed", "experiences": 2, "validation": 0.25},
        **{"measure_on": "validation", "image_size": 8, "classes_per_experience": 3, "views": 1, "eval_every": 1},
        **{"lr": 0.002, "trunk_epochs": 1, "mlp": (20, 10), "rank": 8},
    }
    line = ["run", "digits", "--strategy", "hn-4", "--out", "here", "--cache-bytes", "1000", "--device", "cpu"]
    for name, value in options.items():
        line += [f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, tuple) else (value,))]
    main(line)
    content = json.loads(Path("here/digits-hn-4-printed-e2-seed7/run.json").read_text())
    config = content["config"]
    flat = {**config, **config["method"], "seeds": config["seed"], "mlp": tuple(config["method"]["mlp"])}
    assert {name: flat[name] for name in options} == options
    assert config["method"]["standardise"] is False  # from the preset
    assert len(content["tasks"][0]["classes"]) == 3
    assert content["command"] == shlex.join(["hypertail", *line])
    assert content["curves"]


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("run digit", {"problem": "stream 'digit'", "required": "digits", "hint": "'digits'"}),
        ("run digits --strategy hn nave", {"problem": "strategy 'nave'", "hint": "'naive'"}),
        ("run digits --depth 7", {"problem": "depth", "required": ("0 to 4", "full"), "found": "7", "hint": "--depth"}),
        ("run digits --ewc-weight 3", {"problem": "--ewc-weight", "required": "hn, separate, naive", "found": "ewc"}),
        ("run digits --preset printd", {"problem": "preset 'printd'", "hint": "'printed'"}),
        ("run digits --device cud", {"problem": "device 'cud'", "required": "auto", "hint": "'cuda'"}),
        ("run digits --epochs 0", {"problem": "--epochs", "required": "1 or more", "found": "0"}),
        ("run digits --experiences 9", {"problem": "stream 'digits'", "required": "1 to 5", "found": "9"}),
        ("run digits --threads 0", {"problem": "threads", "required": "1 or more", "found": "0"}),
        ("run digits --cache-bytes -5", {"problem": "--cache-bytes", "required": "0 or more", "found": "-5"}),
        ("reproduce table3 --cache-bytes -5", {"problem": "--cache-bytes", "required": "0 or more", "found": "-5"}),
        ("run digits --seeds", {"problem": "--seeds", "required": "at least one", "found": "none"}),
        ("run digits --lr -1", {"problem": "--lr", "required": "more than 0", "found": "-1.0"}),
        ("run digits --strategy hn --strategy lr", {"found": "2 times", "hint": "--strategy A B"}),
        ("run digits --measure-on validation", {"found": "--validation 0", "hint": "--validation 0.1"}),
        ("run digits --norm instance --image-size 8", {"problem": ("image size", "instance normalisation")}),
        ("run split-cifar100 --data nowhere", {"problem": "'nowhere'", "hint": ("--data", "HYPERTAIL_DATA")}),
        ("run folder:[/red]", {"problem": "image folder '[/red]'", "found": "nothing there"}),
        ("info --depth 9", {"problem": "depth", "required": "0 to 4", "found": "9"}),
        ("info --tasks 0", {"problem": "--tasks", "required": "1 or more", "found": "0"}),
        ("info --preset foo", {"problem": "preset 'foo'", "required": ("printed", "released", "tuned")}),
        ("report nowhere", {"problem": "'nowhere'", "required": "run.json", "found": "nothing there"}),
        ("report", {"problem": "report", "required": "at least one finished run", "found": "none"}),
        ("quickstart --epochs 0", {"problem": "--epochs", "required": "1 or more", "found": "0"}),
        ("quickstart --seeds", {"problem": "--seeds", "required": "at least one", "found": "none"}),
    ],
)
def test_bad_input_is_told_in_one_line_and_leaves_nothing(line: str, fields: dict[str, Texts], fails: Fails) -> None:
    fails(*line.split(), **fields)


def test_a_missing_dataset_says_where_it_was_looked_for_and_how_to_get_it(fails: Fails) -> None:
    Path("data").mkdir()
    fails(
        *("run", "split-cifar100", "--data", "data"),
        problem="dataset 'uoft-cs/cifar100'",
        required=("local copy", "huggingface.co"),
        found=("'data/uoft-cs/cifar100'", "download failed"),
        hint=("--data DIR", "HYPERTAIL_DATA=DIR", "DIR/uoft-cs/cifar100"),
    )


def test_a_corrupt_image_is_named(fails: Fails) -> None:
    for name in ("a", "b"):
        Path("images", name).mkdir(parents=True)
        Path("images", name, "one.png").write_bytes(b"no image")
    fails("run", "folder:images", problem="'images/a/one.png'", required="readable image")


def test_a_single_class(fails: Fails) -> None:
    Path("images/only").mkdir(parents=True)
    Path("images/only/one.png").write_bytes(b"")
    fails("run", "folder:images", problem="'images'", required="at least two class folders", found="only")


def test_output_that_cannot_be_a_folder(fails: Fails) -> None:
    Path("file").write_text("")
    fails("run", "digits", "--out", "file", problem="output folder file", found="a file")
    # OSErrors from below are told, too
    assert "file/runs" in fails("run", "digits", "--out", "file/runs", "--strategy", "naive").line


def test_reports(fails: Fails) -> None:
    Path("empty").mkdir()
    fails("report", "empty", problem="'empty'", required="at least one run.json", found="none")
    Path("old.html").write_text("mine")
    fails("report", "empty", "--out", "old.html", problem="old.html", hint=("--out", "--overwrite"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run digits --epochs ten", "Error parsing --epochs: invalid literal for int() with base 10: 'ten'"),
        ("run digits --epochs 1.5", "Error parsing --epochs: invalid literal for int() with base 10: '1.5'"),
        ("run digits --lr fast", "Error parsing --lr"),
        ("run digits --existing foo", "invalid choice 'foo' for argument '--existing'"),
        ("run digits --epoch 3", "--epochs N"),
        ("run", "STREAM"),
        ("frob", "run, resume, info, report, compare, quickstart"),
        ("", "Expected one of {run, resume, info, report, compare, quickstart, bench"),
    ],
)
def test_lines_that_do_not_parse(line: str, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        main(line.split())
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("run digits", "hypertail run digits --existing reuse"),
        ("run digits --existing replace --seeds 1", "hypertail run digits --seeds 1 --existing reuse"),
        ("run digits --existing=error", "hypertail run digits --existing reuse"),
        ("quickstart", None),
    ],
)
def test_what_an_interrupted_command_says(
    given: str, told: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run_batch", interrupt)
    monkeypatch.setattr(quickstart, "run_batch", interrupt)
    with pytest.raises(SystemExit) as stop:
        main(given.split())
    assert stop.value.code == 130
    expected = f"stopped; what was learned is saved; to continue: {told}\n" if told else "stopped\n"
    assert capsys.readouterr().err == expected


PUBLISHED = {100: (1272877, 1217122, 1119522, 924322, 533922), 5: (769377, 713622, 616022, 420822, 30422)}


@pytest.mark.parametrize("classes", PUBLISHED)
def test_info_counts_exactly(classes: int, capsys: pytest.CaptureFixture[str]) -> None:
    for depth, count in zip(("full", "1", "2", "3", "4"), PUBLISHED[classes], strict=True):
        main(["info", "--depth", depth, "--tasks", "20", "--classes", str(classes), "--json"])
        assert json.loads(capsys.readouterr().out)["hypernetwork_parameters"] == count
        main(["info", "--depth", depth, "--classes", str(classes)])
        assert f"{count:,}" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    assert re.fullmatch(r"hypertail \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


# --- help --------------------------------------------------------------------------------------------------------


def help_of(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main([*args, "--help"])
    assert stop.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def explained(text: str) -> dict[str, str]:
    """Option -> its explanation, as one line; `text` may have frames around its groups, or not."""
    options: dict[str, str] = {}
    name = None
    for line in text.splitlines():
        words = line.strip("│╭╰╮╯─- ").strip()
        start = re.match(r"[│ ]+(--[a-z][a-z-]*)[ ,]", line)
        if start:
            name = start.group(1)
            options[name] = words.removeprefix(name.lstrip("-")).strip()
        elif not words or re.match(r"[a-z]+( [a-z]+)* options$", words):
            name = None
        elif name:
            options[name] += f" {words}"
    return options


@pytest.mark.parametrize("columns", ["80", "120"])
def test_help_explains_every_option_everyday_ones_first(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    text = help_of(capsys, "run")
    assert max(map(len, text.splitlines())) <= max(int(columns), 90)
    options = explained(text)
    everyday = ["strategy", "depth", "model", "seeds", "epochs", "batch-size", "preset", "data", "out", "existing"]
    assert list(options)[: len(everyday)] == [f"--{name}" for name in everyday]
    for kind in (run.Data, run.Machine, *option_groups(run.USUAL)):
        assert {f"--{item.name.replace('_', '-')}" for item in fields(kind)} <= options.keys()
    for name, explanation in options.items():
        assert re.search(r"[A-Za-z]+ .*[a-z]+.*\(default: .+\)$", explanation), f"{name}: {explanation}"
    places = [text.index(f"{name} options") for name in ("data and measurement", "machine", "optimiser")]
    assert places == sorted(places)
    assert text.index("--existing") < places[0] < text.index("--device") < places[2] < text.index("--lr")
    assert "noqa" not in text
    assert "==SUPPRESS==" not in text
    for stream in STREAMS:
        assert f"- {stream}: " in text


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "run"])
def test_help_of_the_other_commands(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = explained(help_of(capsys, command))
    assert options
    for name, explanation in options.items():
        assert re.search(r"[A-Za-z]+ .*\((default: .+|required)\)$", explanation), f"{name}: {explanation}"


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys)
    assert re.findall(r"• (\w+)", text) == list(COMMANDS)
    assert list(COMMANDS)[:6] == ["run", "resume", "info", "report", "compare", "quickstart"]


@pytest.mark.parametrize("spelling", [["--preset", "{}"], ["--preset={}"]])
@pytest.mark.parametrize("name", PRESETS)
def test_help_shows_the_values_of_the_preset(
    name: str, spelling: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = explained(help_of(capsys, "run", "--strategy", "hn", *(text.format(name) for text in spelling)))
    values = {option: value for option, value in usual_options("hn", name).flat().items() if value is not None}
    assert len(values) > 20
    for option, value in values.items():
        shown = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        assert options[f"--{option.replace('_', '-')}"].endswith(f"(default: {shown})")


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fills_in_what_is_not_given(name: str) -> None:
    command = parse(["run", "digits", "--strategy", "hn", "--preset", name, "--rank", "7"])
    assert isinstance(command, run.Run)
    assert command.preset == name
    (config,) = run.configs_of(command)
    assert config.options == usual_options("hn", name).replace(rank=7)


def test_defaults() -> None:
    command = parse(["run", "digits"])
    assert isinstance(command, run.Run)
    assert (command.strategy, command.depth, command.seeds) == (("hn", "separate", "naive"), ("3",), (0,))
    assert (command.epochs, command.preset, command.existing, command.out) == (10, "tuned", "error", Path("runs"))
    assert [config.options for config in run.configs_of(command)] == [
        RunConfig("digits", strategy, depth).options
        for strategy, depth in (("hn", 3), ("separate", 3), ("naive", None))
    ]
