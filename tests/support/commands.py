"""The command `hypertail`: in this process, which is quick, or in one of its own, where a test is about that."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

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


def line_of_failure(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[str, BaseException | None]:
    """The one line of a command that fails with exit code 1, and what it failed of."""
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err, stop.value.__context__


def told(
    capsys: pytest.CaptureFixture[str],
    *args: str,
    problem: Texts = (),
    required: Texts = (),
    found: Texts = (),
    hint: Texts = (),
) -> HypertailError:
    """The error of a command that fails, with these texts in its fields; it was told in one line, whole."""
    line, error = line_of_failure(capsys, *args)
    assert isinstance(error, HypertailError), line
    check_fields(error, problem=problem, required=required, found=found, hint=hint)
    assert line == "error: " + re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", str(error)) + "\n"
    return error
