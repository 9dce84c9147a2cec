"""An image cache of its own for every test."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def image_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty folder that decoded images are cached in."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HYPERTAIL_CACHE", str(folder))
    monkeypatch.delenv("HYPERTAIL_DATA", raising=False)
    return folder
