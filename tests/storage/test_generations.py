"""Two generations of a checkpoint: the older one is used where the newer is damaged, and nothing is lost meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from hypertail.errors import CheckpointError
from hypertail.storage import generations
from hypertail.storage.checkpoint import DamagedCheckpointError
from hypertail.storage.generations import damaged_of, is_saved, load_generation, previous_of, save_generation
from support.errors import refused


def saved(path: Path, *values: float) -> Path:
    for value in values:
        save_generation(path, {"x": torch.tensor([value])}, {"value": value})
    return path


def read(path: Path) -> tuple[float, list[str]]:
    told: list[str] = []
    tensors, facts = load_generation(path, told.append)
    assert float(tensors["x"]) == facts["value"]
    return facts["value"], told


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_the_newest_is_read_and_the_one_before_kept(tmp_path: Path) -> None:
    path = saved(tmp_path / "run.safetensors", 1.0, 2.0, 3.0)
    assert read(path) == (3.0, [])
    assert read(previous_of(path)) == (2.0, [])
    assert sorted(child.name for child in tmp_path.iterdir()) == ["run.previous.safetensors", "run.safetensors"]


@pytest.mark.parametrize("damage", ["flipped", "cut short", "missing"])
def test_the_older_one_is_used_with_a_notice_and_survives_the_next(damage: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "run.safetensors", 1.0, 2.0)
    content = path.read_bytes()
    if damage == "flipped":
        flip(path)
    elif damage == "cut short":
        path.write_bytes(content[:-9])
    else:
        path.unlink()
    assert is_saved(path)
    value, told = read(path)
    assert value == 1.0
    assert len(told) == 1
    assert "run.previous.safetensors" in told[0]
    assert damaged_of(path).is_file() == (damage != "missing")
    saved(path, 2.0)
    # the damaged one never took the place of the good one
    assert read(path) == (2.0, [])
    assert read(previous_of(path)) == (1.0, [])


def test_where_none_is_whole_the_newest_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "run.safetensors", 1.0, 2.0)
    flip(path)
    flip(previous_of(path))
    with refused(DamagedCheckpointError, problem="previous"):
        read(path)
    assert path.is_file()
    path = saved(tmp_path / "one.safetensors", 1.0)
    flip(path)
    with refused(DamagedCheckpointError, problem="one.safetensors"):
        read(path)
    with refused(CheckpointError, problem="no checkpoint"):
        read(tmp_path / "none.safetensors")


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, os.strerror(1))

    monkeypatch.setattr(generations.os, "link", refuse)
    path = saved(tmp_path / "run.safetensors", 1.0, 2.0)
    assert read(path) == (2.0, [])
    assert read(previous_of(path)) == (1.0, [])


def test_what_cannot_be_written_leaves_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "run.safetensors", 1.0, 2.0)

    def refuse(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "replace", refuse)
    with refused(CheckpointError, problem="cannot write", found="No space"):
        saved(path, 3.0)
    monkeypatch.undo()
    assert read(path) == (2.0, [])
    assert read(previous_of(path)) == (1.0, [])
