"""What every test gets: checked shape annotations, one thread, no network, and caches of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
import torch

import support.shape_checks  # noqa: F401 - the hook below looks for it as an attribute of `support`

# Before anything imports hypertail: functions are wrapped as their module is imported.
jaxtyping.install_import_hook("hypertail", "support.shape_checks.check_shapes")
pytest.register_assert_rewrite("support.asserts", "support.errors", "support.reference")


def pytest_configure(config: pytest.Config) -> None:
    """Set the environment before any test module is imported: some libraries read theirs only once."""
    scratch = tempfile.TemporaryDirectory(prefix="hypertail-tests-", ignore_cleanup_errors=True)
    config.add_cleanup(scratch.cleanup)
    os.environ.pop("HYPERTAIL_DATA", None)
    os.environ["HYPERTAIL_CACHE"] = str(Path(scratch.name, "hypertail"))
    os.environ["HF_HOME"] = str(Path(scratch.name, "huggingface"))
    for name in ("HF_HUB_CACHE", "HF_DATASETS_CACHE", "HUGGINGFACE_HUB_CACHE"):
        os.environ.pop(name, None)
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["MPLBACKEND"] = "Agg"
    torch.set_num_threads(1)  # sums in one order, and no contention between test processes


@pytest.fixture
def unchecked_shapes() -> Iterator[None]:
    """Turn shape checking off, for a test that hands a function shapes which it must refuse itself."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
