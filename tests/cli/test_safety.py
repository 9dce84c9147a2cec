"""A share of the trials in results/safety: calls that fail, and kills, as processes of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.commands import ENVIRONMENT

SCRIPTS = Path(__file__).resolve().parents[2] / "results" / "safety"


def tried(script: str, *args: str, out: Path) -> dict[str, object]:
    """What a script found."""
    command = [
        sys.executable,
        str(SCRIPTS / script),
        *args,
        *([] if script == "random_kills.py" else ["--out"]),
        str(out),
    ]
    done = subprocess.run(
        command, cwd=SCRIPTS, env=ENVIRONMENT, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, object] = json.loads(out.read_text())
    return found


@pytest.mark.slow
@pytest.mark.crash
@pytest.mark.skipif(sys.platform != "linux", reason="forks with torch loaded")
def test_kills_at_random_moments(tmp_path: Path) -> None:
    found = tried("random_kills.py", "8", "8", out=tmp_path / "kills.json")
    assert found["wrong"] == []


@pytest.mark.slow
@pytest.mark.crash
@pytest.mark.skipif(sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and a C compiler")
@pytest.mark.parametrize(
    ("script", "args"),
    [
        ("each_call_of_runs.py", ("run", "--stride", "45", "--ways", "ENOSPC once", "SIGKILL")),
        ("each_call_of_runs.py", ("resume", "--stride", "40", "--ways", "EIO once")),
        ("each_call_of_banks.py", ("--stride", "17", "--ways", "ENOSPC once", "SIGKILL in the middle of a write")),
    ],
)
def test_calls_that_fail(script: str, args: tuple[str, ...], tmp_path: Path) -> None:
    found = tried(script, *args, out=tmp_path / "calls.json")
    assert found["wrong"] == []
    assert found["tried"]
