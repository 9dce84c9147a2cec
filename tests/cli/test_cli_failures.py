"""The command line where the machine fails it: no memory, no room on the disk, another process, a kill."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hypertail.cli import main, parse, quickstart, report, run
from hypertail.cli.memory import is_out_of_memory, out_of_memory
from hypertail.lab.experiments.config import RunConfig
from support.commands import ENVIRONMENT, failure, told
from support.errors import Texts, check_fields
from support.runs import run_in

SMALL = ("--experiences", "2", "--image-size", "8", "--epochs", "1", "--trunk-epochs", "1", "--speed", "full")
CPU = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"
)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


# --- memory ------------------------------------------------------------------------------------------------------

OUT_OF_MEMORY = {
    "torch": RuntimeError(f"{CPU}\nsecond line"),
    "torch on macOS": RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    "cublas": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "C++": RuntimeError("std::bad_alloc"),
    "Python": MemoryError(),
    "the system": OSError(errno.ENOMEM, "Cannot allocate memory"),
    "the loader": ImportError("libx.so: failed to map segment from shared object"),
    "threads": RuntimeError("can't start new thread"),
}


def numpys() -> BaseException:
    with pytest.raises(MemoryError) as caught:
        np.empty(1 << 60, dtype=np.uint8)
    return caught.value


def torchs() -> BaseException:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    return caught.value


@pytest.mark.parametrize("make", [numpys, torchs, *(lambda e=e: e for e in OUT_OF_MEMORY.values())])
def test_every_way_of_running_out_of_memory_is_known(make: Callable[[], BaseException]) -> None:
    """case 21: by the texts of each allocator, and by what another error came from."""
    error = make()
    assert is_out_of_memory(error)
    later = ValueError("later")
    later.__cause__ = error
    assert is_out_of_memory(later)


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), OSError(errno.ENOSPC, "x"), ImportError("no x")])
def test_other_errors_are_no_lack_of_memory(error: Exception) -> None:
    assert not is_out_of_memory(error)


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("run digits", ("--batch-size 32 (now 64)", "--cache-bytes 100000000 (now a quarter of what is free)")),
        (
            "run digits --batch-size 5 --cache-bytes 300000000",
            ("--batch-size 2 (now 5)", "--cache-bytes 100000000 (now 300"),
        ),
        ("run digits --batch-size 2 --cache-bytes 7", "--cache-bytes 0 (now 7)"),
        ("run digits --batch-size 2 --cache-bytes 0", ("smaller --image-size", "limit", "--batch-size 2")),
        ("quickstart", ("hypertail run", "--batch-size 16", "--cache-bytes 100000000")),
        ("report x", ("hypertail run", "--batch-size 16", "--cache-bytes 100000000")),
    ],
)
def test_smaller_values_are_named(line: str, advice: Texts) -> None:
    """case 21: which batch size and which cache, beside those that were too much."""
    check_fields(out_of_memory(MemoryError(), parse(line.split())), problem="memory", hint=advice)


@pytest.mark.parametrize("error", OUT_OF_MEMORY.values(), ids=OUT_OF_MEMORY)
def test_every_command_says_it_in_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """case 21: no traceback, whichever allocator it was."""

    def run_out(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(run, "run_batch", run_out)
    monkeypatch.setattr(quickstart, "run_batch", run_out)
    monkeypatch.setattr(report, "find_runs", run_out)
    for line in ("run digits", "quickstart", "report x"):
        said = failure(capsys, *line.split()).line
        assert re.search(r"^error: memory of this process: .*--batch-size \d+.*--cache-bytes \d+", said)


def test_other_runtime_errors_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(run, "run_batch", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["run", "digits"])


LIMITED = """
import os, resource, sys
import sklearn.datasets
from hypertail.cli import main
taken = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
resource.setrlimit(resource.RLIMIT_AS, (taken + int(sys.argv.pop(1)), resource.RLIM_INFINITY))
main()
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc here")
@pytest.mark.parametrize("room", [20_000_000, 60_000_000])
def test_a_limit_of_the_process_that_is_reached(room: int) -> None:
    """case 21: RLIMIT_AS, by a real run."""
    command = [sys.executable, "-c", LIMITED, str(room), "run", "digits", "--strategy", "hn-3", "--batch-size", "512"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=300, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: memory of this process: ")
    assert done.stderr.count("\n") == 1
    assert "--batch-size 256 (now 512) and --cache-bytes" in done.stderr


# --- the disk ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["trunk.trained", "config.json", "checkpoint", "run.json"])
def test_a_full_disk_is_told_in_one_line(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """case 18: whatever is being written; then the same command goes on."""
    fsync = os.fsync

    def full(handle: int) -> None:
        if what in os.readlink(f"/proc/self/fd/{handle}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    if not Path("/proc/self/fd").exists():
        pytest.skip("no /proc here")
    monkeypatch.setattr(os, "fsync", full)
    command = ("run", "digits", "--strategy", "hn-4", *SMALL)
    message = failure(capsys, *command).line
    assert "No space left on device" in message
    assert what in message
    assert not [path for path in tmp_path.rglob("*.part")]
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    main([*command, "--existing", "reuse"])
    assert "ACA" in capsys.readouterr().out


# --- other processes ---------------------------------------------------------------------------------------------


def begin(*args: str) -> tuple[subprocess.Popen[str], Path]:
    """A run that has made its directory."""
    command = [sys.executable, "-m", "hypertail", "run", "digits", "--strategy", "naive", "--epochs", "300", *args]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    directory = Path("runs", "digits-naive-tuned-e300-seed0")
    until = time.monotonic() + 120
    while not (directory / "config.json").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
    return process, directory


@pytest.mark.slow
def test_a_second_run_into_the_same_place_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """case 22: before it trains anything, with the process that it would disturb."""
    process, directory = begin()
    try:
        before = sorted(path.name for path in directory.iterdir())
        for existing in ("error", "reuse", "replace"):
            command = ("run", "digits", "--strategy", "ewc", "naive", "--epochs", "300", "--existing", existing)
            told(capsys, *command, problem=f"run directory {directory}", found=f"process {process.pid}")
        assert [path.name for path in Path("runs").iterdir()] == [directory.name]
        assert sorted(path.name for path in directory.iterdir()) == before
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.slow
@pytest.mark.crash
def test_a_killed_run_holds_nothing() -> None:
    """case 26: neither its directory nor the next command."""
    process, directory = begin()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (directory / ".lock").exists()
    # as if it had been killed a moment earlier
    (directory / "config.json").rename(directory / ".config.json.0a1b2c3d.part")
    (directory / "checkpoint.safetensors").unlink(missing_ok=True)
    main(["run", "digits", "--strategy", "naive", "--experiences", "1", "--epochs", "1", "--image-size", "8"])
    options = json.loads(Path("runs", "digits-naive-tuned-e1-seed0", "config.json").read_text())
    assert options["epochs"] == 1
    with pytest.raises(KeyboardInterrupt):
        _interrupted(directory)


def _interrupted(directory: Path) -> None:
    """The killed command again, without options for what exists, until it has begun."""

    def stop(done: int, total: int, text: str) -> None:
        assert (directory / "config.json").is_file()
        raise KeyboardInterrupt

    config = RunConfig("digits", "naive", epochs=300, preset="tuned")
    run_in(directory.parent, config, speed="full", progress=stop)


def test_a_file_from_elsewhere_commands_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """case 20: a key of a hostile run.json, in the message that refuses it."""
    Path("run.json").write_text(json.dumps({"a\x1b[2J\nb": 10**30}))
    failed = told(capsys, "report", "run.json", problem="run.json", required="64 bits", found="100 bits")
    assert "'a [2J b'" in failed.line
    for text in ("[" * 100_000, '{"a":' * 500 + "1" + "}" * 500, f'{{"a": {"9" * 400}}}'):
        Path("run.json").write_text(text)
        told(capsys, "report", "run.json", problem="run.json")
