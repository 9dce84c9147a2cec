"""Runs that a signal stopped, as a user stops and resumes them."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hypertail.cli import main
from hypertail.errors import ConfigError
from hypertail.storage.checkpoint import load_checkpoint
from support.asserts import assert_same_tensors
from support.commands import ENVIRONMENT, told

OPTIONS = ("digits", "--strategy", "hn-3", "--experiences", "3", "--image-size", "8", "--epochs", "6")
OPTIONS += ("--trunk-epochs", "2", "--speed", "full", "--checkpoint-every", "0.01s")
NAME = "digits-hn-3-tuned-e6-seed0"

# `python -m hypertail` that heeds an interrupt even where the tests run in the background, whose children ignore it
START = """
import runpy, signal
for name in ("SIGINT", "SIGHUP"):
    signal.signal(getattr(signal, name), signal.default_int_handler)
runpy.run_module("hypertail", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, never interrupted."""
    out = tmp_path_factory.mktemp("whole")
    main(["run", *OPTIONS, "--out", str(out)])
    return out / NAME


def results(directory: Path) -> object:
    """What does not tell of time and place in a run.json."""
    content = json.loads((directory / "run.json").read_text())
    of_time = ("seconds", "started", "command", "digest")
    return {name: value for name, value in content.items() if not name.startswith(of_time)}


def assert_same_run(directory: Path, whole: Path) -> None:
    for name in ("checkpoint.safetensors", "checkpoint.previous.safetensors"):
        assert_same_tensors(load_checkpoint(directory / name)[0], load_checkpoint(whole / name)[0])
    assert results(directory) == results(whole)
    assert sorted(path.name for path in directory.iterdir()) == sorted(path.name for path in whole.iterdir())


@pytest.mark.slow
@pytest.mark.crash
@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("SIGINT", "trunk.unfinished.safetensors"),
        ("SIGTERM", "checkpoint.unfinished.safetensors"),
        ("SIGHUP", "checkpoint.previous.safetensors"),
        ("SIGKILL", "trunk.unfinished.safetensors"),
        ("SIGKILL", "checkpoint.unfinished.safetensors"),
    ],
)
def test_a_stopped_run_is_resumed_to_the_same_bits(
    name: str, at: str, tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    number, out = getattr(signal, name), tmp_path / "my [runs]"
    command = [sys.executable, "-c", START, "run", *OPTIONS, "--out", str(out)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        until = time.monotonic() + 120
        while not (out / NAME / at).exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.002)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    if name == "SIGKILL":
        assert process.returncode == -number
    else:
        assert process.returncode == 128 + number
        line = shlex.join(["hypertail", "run", *OPTIONS, "--out", str(out), "--existing", "reuse"])
        assert err == f"stopped; what was learned is saved; to continue: {line}\n"
    assert not (out / NAME / "run.json").exists()
    main(["resume", str(out)])
    assert "HN-3 seed 0: ACA" in capsys.readouterr().out
    assert_same_run(out / NAME, whole)


def test_a_finished_run_is_told_and_left(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.iterdir()}
    main(["resume", str(whole)])
    assert "finished before" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in whole.iterdir()} == before


@pytest.mark.parametrize("lost", ["checkpoint", "both", "all"])
def test_a_run_that_lost_files_is_no_dead_end(
    lost: str, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(whole.parent, tmp_path / "runs")
    directory = tmp_path / "runs" / NAME
    (directory / "run.json").unlink()
    (directory / ".checkpoint.safetensors.0123abcd.part").write_bytes(b"half")
    newest = directory / "checkpoint.safetensors"
    if lost == "checkpoint":
        newest.write_bytes(newest.read_bytes()[:-100])
    else:
        for path in directory.glob("checkpoint*"):
            path.unlink()
    if lost == "all":
        (tmp_path / "runs" / "trunks").rename(tmp_path / "elsewhere")
    main(["resume", str(directory)])
    out = capsys.readouterr().out
    assert ("The one before it is used" in " ".join(out.split())) == (lost == "checkpoint")
    (directory / "checkpoint.damaged.safetensors").unlink(missing_ok=True)
    assert_same_run(directory, whole)


def test_data_and_device_can_be_others(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(whole.parent, tmp_path / "runs")
    directory = tmp_path / "runs" / NAME
    (directory / "run.json").unlink()
    main(["resume", str(directory), "--data", str(tmp_path), "--device", "cpu", "--threads", "1"])
    begun = json.loads((directory / "config.json").read_text())
    assert begun["place"]["data"] == str(tmp_path)
    assert begun["place"]["checkpoint_every"] == "0.01s"
    assert json.loads((directory / "run.json").read_text())["command"].startswith("hypertail run digits")


def test_no_threads_are_refused(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, "resume", str(whole), "--threads", "0", problem="threads", required="1 or more", found="0")
    told(capsys, "resume", str(whole), "--device", "", problem="device ''")


def test_where_nothing_is_to_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    for place, found in (("empty", "a folder without"), ("none", "nothing there")):
        told(capsys, "resume", str(tmp_path / place), problem="no run", found=found, hint="started anew")
    (tmp_path / "empty" / "config.json").write_text('{"stream": 1}')
    told(capsys, "resume", str(tmp_path / "empty"), problem="options of a run")


@pytest.mark.parametrize(
    "place",
    [
        *({"data": 3}, {"cache": "yes"}, {"cache_bytes": True}, {"checkpoint_every": "x"}, []),
        *({"trunks": 3}, {"base": 3}, {"data": {}}, {"data": {"bytes": "zz"}}),
    ],
)
def test_a_place_that_is_none_is_refused(place: object, whole: Path, tmp_path: Path) -> None:
    from hypertail.lab.experiments.begun import read_begun

    content = json.loads((whole / "config.json").read_text())
    del content["digest"]
    (tmp_path / "config.json").write_text(json.dumps(content | {"place": place}))
    with pytest.raises(ConfigError, match="options of a run"):
        read_begun(tmp_path)
