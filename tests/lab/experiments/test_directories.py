"""Run directories: claimed by one process, cleared of nothing but a run, continued after a kill at any moment."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hypertail.errors import ConfigError
from hypertail.lab.experiments import directories
from hypertail.lab.experiments.directories import LOCK, claimed, is_taken, refuse_busy, tidy

SOURCE = Path(__file__).resolve().parents[3] / "src"
CODE = """
import sys, pathlib
sys.path.insert(0, sys.argv[1])
from hypertail.lab.experiments.directories import claimed
with claimed(pathlib.Path(sys.argv[2])):
    print("claimed", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Claims `directory` until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, str(SOURCE), str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        assert process.stdout.readline() == "claimed\n"
        yield process
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def nothing(*_: object) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


@pytest.fixture(params=["flock", "no locks", "no fcntl"])
def locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way in which a directory can be claimed."""
    if request.param == "no fcntl":
        monkeypatch.setattr(directories, "fcntl", None)
    elif request.param == "no locks":
        pytest.importorskip("fcntl")
        monkeypatch.setattr("fcntl.flock", nothing)
    return str(request.param)


@pytest.mark.usefixtures("locks")
def test_a_directory_has_one_owner_at_a_time(tmp_path: Path) -> None:
    """case 22: told at once, with the process that works in it."""
    run = tmp_path / "runs" / "one"
    with claimed(run):
        for attempt in (lambda: claimed(run).__enter__(), lambda: refuse_busy(run)):
            with pytest.raises(ConfigError) as error:
                attempt()
            message = f"run directory {run}: required one that nothing works in; found process {os.getpid()} on "
            assert str(error.value).startswith(f"{message}{socket.gethostname()} working in it. Wait until it is done")
        with claimed(tmp_path / "runs" / "other"):
            pass
        (run / "config.json").write_text("{}")
    refuse_busy(run)
    assert [path.name for path in run.iterdir()] == ["config.json"]
    with claimed(run):
        pass


@pytest.mark.slow
def test_another_process_is_named(tmp_path: Path) -> None:
    """case 22: its id and its machine; once it is gone, however it went, the directory is free."""
    run = tmp_path / "run"
    for end in ("by itself", "killed"):
        with another_process(run) as process:
            with pytest.raises(ConfigError, match=f"found process {process.pid} on "):
                refuse_busy(run)
            with pytest.raises(ConfigError, match=f"found process {process.pid} on "), claimed(run):
                pass
            if end == "killed":
                process.send_signal(signal.SIGKILL)
                process.wait(60)
        assert (run / LOCK).exists() == (end == "killed")
        assert not is_taken(run)
        with claimed(run):
            pass


@pytest.mark.parametrize("lost", [None, "no fcntl"])
def test_the_lock_of_a_dead_process_holds_nothing(
    lost: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """case 26: a power cut leaves the file, but no process."""
    if lost:
        monkeypatch.setattr(directories, "fcntl", None)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait(60)
    (tmp_path / LOCK).write_text(json.dumps({"pid": dead.pid, "host": socket.gethostname()}))
    refuse_busy(tmp_path)
    with claimed(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("content", ["", "{", '{"pid": 1, "host": "elsewhere"}', '{"pid": "x", "host": 3}', "[" * 500])
def test_without_locks_an_unknown_owner_counts_as_alive(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directories, "fcntl", None)
    (tmp_path / LOCK).write_text(content)
    with pytest.raises(ConfigError, match=re.escape(f"If it has ended, delete {tmp_path / LOCK}.")), claimed(tmp_path):
        pass


@pytest.mark.usefixtures("locks")
def test_a_directory_that_nothing_came_into_is_removed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), claimed(tmp_path / "new" / "runs" / "one"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there").mkdir()
    with claimed(tmp_path / "there"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("precious")
    assert is_taken(tmp_path / "run")
    with pytest.raises(ConfigError, match="required a folder, or nothing yet; found a file"), claimed(tmp_path / "run"):
        pass
    assert (tmp_path / "run").read_text() == "precious"


LEFT = (
    LOCK,
    ".config.json.0a1b2c3d.part",
    ".run.json.x.part",
    ".checkpoint.safetensors.k2j3",
    ".checkpoint.safetensors.x.part",
)


@pytest.mark.parametrize("left", [(), (LOCK,), LEFT], ids=["empty", "lock", "temporaries"])
def test_what_a_kill_leaves_is_nobody_s(left: tuple[str, ...], tmp_path: Path) -> None:
    """case 26: between making the directory and its config.json."""
    for name in left:
        (tmp_path / name).touch()
    assert not is_taken(tmp_path)
    with claimed(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["notes.txt", ".part", ".hidden.part", "run.json/", ".config.json.x.part/", "trunks/"])
def test_what_is_not_of_a_run_is_never_removed(name: str, tmp_path: Path) -> None:
    """case 26: nor is anything else of the run, where such a thing lies beside it."""
    (tmp_path / "config.json").touch()
    (tmp_path / "checkpoint.safetensors").touch()
    path = tmp_path / name
    path.mkdir() if name.endswith("/") else path.touch()
    assert is_taken(tmp_path)
    with claimed(tmp_path) as claim, pytest.raises(ConfigError) as error:
        claim.clear()
    assert str(error.value) == (
        f"run directory {tmp_path}: required files of a run and nothing else, to replace it; found '{path.name}'. "
        "Move it elsewhere, or use another --out."
    )
    assert {"config.json", "checkpoint.safetensors", path.name} == {path.name for path in tmp_path.iterdir()}


def test_files_of_a_run_are_removed(tmp_path: Path) -> None:
    for name in ("run.json", "config.json", "checkpoint.safetensors", "failure.json", *LEFT):
        (tmp_path / name).touch()
    with claimed(tmp_path) as claim:
        claim.clear()
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]


@pytest.mark.parametrize("taken", [False, True], ids=["deleted", "taken over"])
def test_a_directory_deleted_under_a_run(taken: bool, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    with claimed(directory) as claim:
        claim.check()
        (directory / LOCK).unlink()
        directory.rmdir()
        if taken:
            directory.mkdir()
            (directory / LOCK).write_text("of another")
        with pytest.raises(ConfigError, match="another one" if taken else "deleted or moved"):
            claim.check()
    # what is another's stays
    assert (directory / LOCK).exists() == taken


def test_leftovers_of_a_finished_run_go_and_nothing_else(tmp_path: Path) -> None:
    for name in ("run.json", ".run.json.01234567.part", "mine.part"):
        (tmp_path / name).write_text("x")
    with another_process(tmp_path):
        (tmp_path / ".run.json.89abcdef.part").write_text("being written")
        tidy(tmp_path)
        assert (tmp_path / ".run.json.89abcdef.part").exists()
    (tmp_path / LOCK).write_text("of a killed process")
    tidy(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.part", "run.json"]


@pytest.mark.parametrize("call", ["mkdir", "open"])
@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_directory_that_cannot_be_written(
    call: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        message = re.escape(f"required a folder that can be written to; found {os.strerror(code)}")
        with pytest.raises(ConfigError, match=message), claimed(tmp_path / "run"):
            pass
    assert not (tmp_path / "run").exists()


def test_states_of_the_trunk_that_could_not_be_removed_go_with_the_next_start(tmp_path: Path) -> None:
    kept = ("run.json", "checkpoint.safetensors", "checkpoint.previous.safetensors", "config.json")
    for name in (*kept, "trunk.safetensors", "trunk.unfinished.safetensors"):
        (tmp_path / name).write_text("there")
    tidy(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(kept)
