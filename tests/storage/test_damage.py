"""A share of results/safety/fuzz.py: files of every kind, damaged at random."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "results" / "safety"))

from damage import Files

KINDS = ("run.json", "config.json", "checkpoint", "bank.json", "manifest", "task", "hypernetwork", "parquet")
KINDS += tuple(f"image.{kind}" for kind in ("png", "jpg", "webp", "gif", "bmp", "tiff"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("files"))


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_what_is_damaged_is_refused_or_told(kind: str, files: Files, seed: int) -> None:
    """Never a traceback, never another content accepted, never a changed original."""
    way, outcome = files.try_one(kind, random.Random(seed))
    assert not outcome.startswith("WRONG"), f"{way}: {outcome}"


def test_every_kind_is_tried(files: Files) -> None:
    assert set(files.readers) == set(KINDS)
