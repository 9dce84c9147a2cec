"""Checkpoints: named tensors and plain facts in one safetensors file, written atomically and checked when read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hypertail.errors import CheckpointError
from hypertail.storage.atomic import write_bytes
from hypertail.storage.jsonfile import JsonError, parse_json

FORMAT, VERSION = "hypertail-checkpoint", 2
"""Version 2 has a digest of each tensor and one of all the rest in its header; version 1 had none."""


class DamagedCheckpointError(CheckpointError):
    """A file that does not hold what was saved, or that something else wrote."""


def save_checkpoint(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write `path` in one atomic step: a reader sees the old file or the new one, never a part.

    Args:
        path: of the file.
        tensors: by name.
        facts: anything JSON can hold; numbers are finite.

    Raises:
        CheckpointError: it cannot be written, for lack of room, say; the file that was there before is kept.
    """
    plain = _apart({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    try:
        text = json.dumps(facts, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"facts of checkpoint {path}",
            required="what JSON can hold, with finite numbers",
            found=str(error),
            hint="Save other values as tensors.",
        ) from error
    sums = json.dumps({name: _digest_of(name, tensor) for name, tensor in plain.items()}, sort_keys=True)
    header = {"format": FORMAT, "version": str(VERSION), "facts": text, "sums": sums, "digest": _digest(text, sums)}
    try:
        # save_file would write a file of its own first, under a name that nobody can tell is ours after a kill
        write_bytes(path, save(plain, metadata=header))
    except (SafetensorError, OSError) as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: Exception) -> CheckpointError:
    """The error to raise where a checkpoint cannot be written."""
    return CheckpointError(
        f"cannot write checkpoint {path}",
        required="room on the disk, and leave to write there",
        found=str(error),
        hint="Free some room, or write elsewhere; the file that was there before is kept.",
    )


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, each with a memory of its own, as safetensors wants; only those that share one are copied."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage()
        shared = storage.nbytes() != tensor.numel() * tensor.element_size() or storage.data_ptr() in seen
        seen.add(storage.data_ptr())
        apart[name] = tensor.clone() if shared else tensor
    return apart


def load_checkpoint(path: Path, device: str = "cpu") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and facts of a checkpoint.

    Raises:
        DamagedCheckpointError: the file is damaged, by as little as a bit, or foreign.
        CheckpointError: it is missing, or of a newer version.
    """
    if not path.is_file():
        raise CheckpointError(
            f"no checkpoint {path}",
            required="a file written by save_checkpoint",
            found="nothing there",
            hint="Check the path.",
        )
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, UnicodeError) as error:
        raise _damaged(path, "a whole safetensors file", str(error), "cannot read checkpoint {}") from error
    version = _version_of(path, header)
    if "facts" not in header:
        raise _damaged(path, "a JSON text in its header", "nothing", "checkpoint {} has lost its facts")
    # files of version 1 have no sums; one that has them is checked, whatever it says it is
    if version > 1 or "sums" in header or "digest" in header:
        _verify(path, header, tensors)
    try:
        facts = parse_json(header["facts"])
    except JsonError as error:
        raise _damaged(path, "a JSON text in its header", str(error), "checkpoint {} has lost its facts") from error
    if not isinstance(facts, dict):
        found = f"a {type(facts).__name__}"
        raise _damaged(path, "a JSON object in its header", found, "checkpoint {} has lost its facts")
    return {name: tensor.to(device) for name, tensor in tensors.items()}, facts


def _version_of(path: Path, header: dict[str, str]) -> int:
    text = header.get("version", "")
    known = text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0
    if header.get("format") != FORMAT or not known:
        raise DamagedCheckpointError(
            f"{path} is not a hypertail checkpoint",
            required=f"format {FORMAT}",
            found=str(header.get("format")),
            hint="Check the path.",
        )
    if int(text) > VERSION:
        raise CheckpointError(
            f"checkpoint {path} is too new",
            required=f"version {VERSION} or older",
            found=text,
            hint="Upgrade hypertail: pip install -U hypertail.",
        )
    return int(text)


def _verify(path: Path, header: dict[str, str], tensors: dict[str, Tensor]) -> None:
    sums = header.get("sums", "")
    if header.get("digest") != _digest(header["facts"], sums):
        raise _damaged(path, "the facts that were saved", "others, by their digest")
    try:
        kept = parse_json(sums)
    except JsonError as error:
        raise _damaged(path, "a digest of each tensor", str(error)) from error
    if not isinstance(kept, dict):
        raise _damaged(path, "a digest of each tensor", f"a {type(kept).__name__}")
    for name in sorted(kept.keys() | tensors.keys()):
        if name not in tensors or kept.get(name) != _digest_of(name, tensors[name]):
            raise _damaged(path, "the tensors that were saved", f"another '{name}', by its digest")


def _digest_of(name: str, tensor: Tensor) -> str:
    """Follows from name, type, shape and every bit of a contiguous tensor on the CPU."""
    digest = hashlib.blake2b(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode(), digest_size=16)
    if tensor.numel():
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _digest(facts: str, sums: str) -> str:
    return hashlib.blake2b(json.dumps([facts, sums]).encode(), digest_size=16).hexdigest()


def _damaged(path: Path, required: str, found: str, problem: str = "checkpoint {} is damaged") -> CheckpointError:
    hint = "The file is damaged; use an older copy or start again."
    return DamagedCheckpointError(problem.format(path), required=required, found=found, hint=hint)
