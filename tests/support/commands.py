"""The command `hypertail`: in this process, which is quick, or in one of its own, where a test is about that."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from hypertail.cli import main
from hypertail.errors import HypertailError
from support.errors import Texts, check_fields

SOURCE = Path(__file__).resolve().parents[2] / "src"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
"""Of a process of its own."""


def hypertail(*args: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, which takes seconds to import torch."""
    command = [sys.executable, "-m", "hypertail", *args]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=300, check=False)


class Failure(NamedTuple):
    """How a command failed: what it had printed before, its one line on the standard error, and what that tells of."""

    out: str
    line: str
    error: BaseException | None


def failure(capsys: pytest.CaptureFixture[str], *args: str) -> Failure:
    """The failure of a command that ends with exit code 1 and one line."""
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code == 1
    out, err = capsys.readouterr()
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    return Failure(out, err, stop.value.__context__)


def told(
    capsys: pytest.CaptureFixture[str],
    *args: str,
    problem: Texts = (),
    required: Texts = (),
    found: Texts = (),
    hint: Texts = (),
) -> Failure:
    """The failure of a command with these texts in the fields of its error, which the line tells in full."""
    failed = failure(capsys, *args)
    assert isinstance(failed.error, HypertailError), failed.line
    check_fields(failed.error, problem=problem, required=required, found=found, hint=hint)
    assert failed.line == "error: " + re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", str(failed.error)) + "\n"
    return failed
