"""Try something in a process of its own, with a call that fails or kills, or with a kill at a moment."""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import os
import pkgutil
import platform
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FAIL_ONCE, FAIL_ON, KILL, TEAR = range(4)
WAYS: dict[str, tuple[int, int]] = {
    "ENOSPC once": (FAIL_ONCE, 28),
    "EIO once": (FAIL_ONCE, 5),
    "EROFS from there on": (FAIL_ON, 30),
    "SIGKILL": (KILL, 0),
    "SIGKILL in the middle of a write": (TEAR, 0),
}
"""What happens at a call that writes: how, and the number of the error."""


@dataclass(frozen=True)
class Outcome:
    """How a process ended.

    Attributes:
        code: its exit code; negative for a signal.
        calls: that wrote below the folder.
        names: of them.
        text: what it printed.
    """

    code: int
    calls: int
    names: tuple[str, ...]
    text: str


def with_faults() -> ctypes.CDLL:
    """The library that fails calls; the program is started anew with it where it is not loaded."""
    library = Path(tempfile.gettempdir()) / f"hypertail-faults-{os.getuid()}.so"
    if os.environ.get("LD_PRELOAD") != str(library):
        source = HERE / "faults.c"
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(source), "-ldl"], check=True)
        os.environ |= {"LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"}
        os.execv(sys.executable, [sys.executable, *sys.argv])
    loaded = ctypes.CDLL(None)
    loaded.faults_arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int]
    loaded.faults_names.restype, loaded.faults_count.restype = ctypes.c_char_p, ctypes.c_long
    return loaded


def preload() -> None:
    """Import once what every child would import for itself."""
    import PIL.Image
    import torch
    import torch._dynamo
    import typeguard  # noqa: F401

    import hypertail
    import hypertail.cli

    for module in pkgutil.walk_packages(hypertail.__path__, "hypertail."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    PIL.Image.init()
    torch.set_num_threads(1)


def trial(
    work: Callable[[], None],
    root: Path,
    *,
    at: int = -1,
    way: str = "",
    library: ctypes.CDLL | None = None,
    kill_after: float | None = None,
) -> Outcome:
    """Do `work` in a child process.

    Args:
        work: what is tried.
        root: folder below which calls are counted.
        at: the number of the call that fails, from 1; below that, none does.
        way: of `WAYS`.
        library: of `with_faults`; None to fail nothing.
        kill_after: seconds after which the process is killed.
    """
    with tempfile.TemporaryFile("w+") as printed:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            _child(work, root, at, way, library, printed.fileno(), writing)
        os.close(writing)
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(child, signal.SIGKILL)
        with os.fdopen(reading) as said:
            told = said.read()
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        names = tuple(told.split("\n")[:-1]) if told else ()
        return Outcome(code, len(names), names, printed.read())


def _child(
    work: Callable[[], None], root: Path, at: int, way: str, library: ctypes.CDLL | None, out: int, pipe: int
) -> None:
    os.dup2(out, 1)
    os.dup2(out, 2)
    code = 0
    if library is not None:
        how, error = WAYS[way] if way else (FAIL_ONCE, 0)
        library.faults_arm(str(root).encode(), at, how, error)
    try:
        work()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 99
    if library is not None:
        count = library.faults_count()
        library.faults_arm(b"", -1, 0, 0)
        os.write(pipe, b"".join(name + b"\n" for name in library.faults_names().split(b"\n")[:count]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def arguments(out: str, *, halves: tuple[str, ...] = ()) -> argparse.Namespace:
    """What the scripts that try every call are told."""
    parser = argparse.ArgumentParser()
    if halves:
        parser.add_argument("half", choices=halves)
    parser.add_argument("--out", default=out)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--stride", type=int, default=1, help="try every so manieth call")
    return parser.parse_args()


def write(name: str, content: dict[str, Any]) -> None:
    """Write results beside the scripts, with where they were made."""
    from hypertail.environment import versions

    where = {"machine": platform.platform(), "cores": os.cpu_count(), "versions": versions()}
    (HERE / name).write_text(json.dumps({**content, "where": where}, indent=1) + "\n")
