"""Checkpoints: named tensors and plain facts in one safetensors file, written atomically."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hypertail.errors import CheckpointError

FORMAT, VERSION = "hypertail-checkpoint", 1


def save_checkpoint(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write `path` in one atomic step: a reader sees the old file or the new one, never a part.

    Args:
        path: of the file.
        tensors: by name.
        facts: anything JSON can hold.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {"format": FORMAT, "version": str(VERSION), "facts": json.dumps(facts)}
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        save_file(own, name, metadata=header)
        with open(name, "rb") as written:
            os.fsync(written.fileno())
        # mkstemp makes private files; a checkpoint is as readable as any other file of the user
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    finally:
        if os.path.exists(name):
            os.unlink(name)


def load_checkpoint(path: Path, device: str = "cpu") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and facts of a checkpoint.

    Raises:
        CheckpointError: the file is missing, damaged, foreign, or of a newer version.
    """
    if not path.is_file():
        raise CheckpointError(
            f"no checkpoint {path}",
            required="a file written by save_checkpoint",
            found="nothing there",
            mend="Check the path.",
        )
    try:
        with safe_open(path, framework="pt", device=device) as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"cannot read checkpoint {path}",
            required="a whole safetensors file",
            found=str(error),
            mend="The file is damaged; use an older copy or start again.",
        ) from error
    if header.get("format") != FORMAT or not header.get("version", "").isdigit():
        raise CheckpointError(
            f"{path} is not a hypertail checkpoint",
            required=f"format {FORMAT}",
            found=str(header.get("format")),
            mend="Check the path.",
        )
    if int(header["version"]) > VERSION:
        raise CheckpointError(
            f"checkpoint {path} is too new",
            required=f"version {VERSION} or older",
            found=header["version"],
            mend="Upgrade hypertail: pip install -U hypertail.",
        )
    try:
        facts = json.loads(header["facts"])
    except (KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f"checkpoint {path} has lost its facts",
            required="a JSON text in its header",
            found="nothing" if isinstance(error, KeyError) else "a damaged one",
            mend="Use an older copy or start again.",
        ) from error
    return tensors, facts
