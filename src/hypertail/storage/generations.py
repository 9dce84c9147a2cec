"""A checkpoint and the one before it: where the newer is damaged, the older is used."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from hypertail.errors import CheckpointError
from hypertail.storage.atomic import write_with
from hypertail.storage.checkpoint import DamagedCheckpointError, cannot_write, load_checkpoint, save_checkpoint


def previous_of(path: Path) -> Path:
    """Where the checkpoint before the one at `path` lies."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def damaged_of(path: Path) -> Path:
    """Where a damaged checkpoint is put aside."""
    return path.with_name(f"{path.stem}.damaged{path.suffix}")


def is_saved(path: Path) -> bool:
    """Whether a generation is there."""
    return path.is_file() or previous_of(path).is_file()


def save_generation(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write `path` as `save_checkpoint` does, and keep the one that was there as the previous generation.

    Raises:
        CheckpointError: it cannot be written; the newest of before is kept.
    """
    if path.is_file():
        try:
            write_with(previous_of(path), lambda part: _same(path, part))
        except OSError as error:
            raise cannot_write(previous_of(path), error) from error
    save_checkpoint(path, tensors, facts)


def _same(path: Path, part: Path) -> None:
    """Make `part` the same file as `path`, or a copy where a file cannot have two names."""
    part.unlink()
    try:
        os.link(path, part)
    except OSError:
        shutil.copyfile(path, part)


def load_generation(
    path: Path, notice: Callable[[str], None], device: str = "cpu"
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The newest generation that is whole.

    A damaged file is put aside, not deleted (`damaged_of`), and `notice` is told.

    Raises:
        DamagedCheckpointError: no generation is whole; the newest is named.
        CheckpointError: there is none, or it is of a newer version.
    """
    previous = previous_of(path)
    if not previous.is_file():
        return load_checkpoint(path, device)
    try:
        return load_checkpoint(path, device)
    except DamagedCheckpointError as error:
        found = load_checkpoint(previous, device)
        with contextlib.suppress(OSError):  # it is in nobody's way
            os.replace(path, damaged_of(path))
        notice(f"{error.problem}: {error.found}. The one before it is used, {previous.name}; less was learned by then.")
        return found
    except CheckpointError:
        if path.exists():
            raise
        notice(f"no checkpoint {path}: the one before it is used, {previous.name}; less was learned by then.")
        return load_checkpoint(previous, device)
