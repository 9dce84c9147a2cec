"""From the command line to the first word of the program: importing, an interrupt meanwhile, too little memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import hypertail

SOURCE = Path(__file__).resolve().parents[2] / "src"
SCRIPT = "import sys\nfrom hypertail.__main__ import main\nsys.exit(main())\n"  # as pip installs it
STARTS = {"module": ["-m", "hypertail"], "script": ["-c", SCRIPT]}


def waiting(folder: Path, library: str) -> dict[str, str]:
    """An environment in which the import of `library` says so in a file, and then takes a minute."""
    (folder / f"{library}.py").write_text(
        f"import pathlib, time\npathlib.Path({str(folder / 'begun')!r}).touch()\ntime.sleep(60)\n"
    )
    return {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{SOURCE}"}


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("library", ["torch", "numpy", "tyro", "rich"])
@pytest.mark.parametrize("start", STARTS)
def test_an_interrupt_while_the_program_is_loaded(start: str, library: str, tmp_path: Path) -> None:
    """case 24: quietly, with the exit code of an interrupt, whatever is being imported."""
    process = subprocess.Popen(
        [sys.executable, *STARTS[start], "run", "digits"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=waiting(tmp_path, library),
        cwd=tmp_path,
        # tests may run in the background, whose children ignore interrupts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    until = time.monotonic() + 60
    while not (tmp_path / "begun").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "stopped\n")


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_where_interrupts_are_ignored_they_stay_so(tmp_path: Path) -> None:
    """case 24: a program in the background is not stopped by a key pressed for another."""
    (tmp_path / "torch.py").write_text(
        "import os, signal, sys\nos.kill(os.getpid(), signal.SIGINT)\nprint('goes on', flush=True)\nsys.exit(7)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "hypertail", "run", "digits"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{SOURCE}"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (7, "goes on\n")


@pytest.mark.parametrize(
    "error",
    [
        "MemoryError",
        "ImportError('libtorch_cpu.so: failed to map segment from shared object')",
        "OSError('[Errno 12] Cannot allocate memory')",
    ],
)
def test_too_little_memory_to_load_the_program(error: str, tmp_path: Path) -> None:
    """case 21: one line, before any option is read."""
    (tmp_path / "torch.py").write_text(f"raise {error}\n")
    done = subprocess.run(
        [sys.executable, "-m", "hypertail", "info"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{SOURCE}"},
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: memory of this process: too little to load the program (")
    assert done.stderr.count("\n") == 1


def test_another_failed_import_keeps_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('no such symbol')\n")
    done = subprocess.run(
        [sys.executable, "-m", "hypertail", "info"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{SOURCE}"},
        timeout=60,
        check=False,
    )
    assert "ImportError: no such symbol" in done.stderr
    assert "Traceback" in done.stderr


def test_the_package_itself_imports_nothing_slow() -> None:
    """case 24: what runs before the entry point can be interrupted, and cannot be guarded."""
    code = "import sys, hypertail; print(*[n for n in ('torch', 'numpy', 'safetensors') if n in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split() == []


def test_every_public_name_is_there() -> None:
    for name in hypertail.__all__:
        assert getattr(hypertail, name) is not None
    assert set(hypertail.__all__) <= set(dir(hypertail))
    assert hypertail.errors.HypertailError is hypertail.HypertailError
    with pytest.raises(AttributeError, match="module 'hypertail' has no attribute 'Nave'"):
        hypertail.Nave  # noqa: B018
