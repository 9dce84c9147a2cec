"""Decoded images on disk, so that a dataset is decoded once.

One safetensors file per dataset under `$HYPERTAIL_CACHE` (default `~/.cache/hypertail`), named by a digest of
what it was made from: a changed source is a new file, and any file may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hypertail.errors import DataError
from hypertail.streams.labelled import LabelledImages
from hypertail.streams.stream import Examples

FORMAT = 1  # raised when decoding changes, so that old files are not read


def cache_folder() -> Path:
    """Where decoded datasets are kept."""
    return Path(os.environ.get("HYPERTAIL_CACHE") or "~/.cache/hypertail").expanduser()


def fingerprint(root: Path, files: Iterable[Path]) -> str:
    """A digest of the files' places, sizes and modification times."""
    digest = hashlib.blake2b(str(root.resolve()).encode(), digest_size=16)
    for file in sorted(files):
        status = file.stat()
        line = f"\n{file.relative_to(root)}|{status.st_size}|{status.st_mtime_ns}"
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def cached(name: str, key: tuple[object, ...], build: Callable[[], LabelledImages]) -> LabelledImages:
    """The dataset stored under `name` and `key`, else what `build` returns, stored for the next time.

    A missing, damaged or foreign file is rebuilt. A cache that cannot be written is a warning, not an error.
    """
    digest = hashlib.blake2b(repr((FORMAT, name, *key)).encode(), digest_size=12).hexdigest()
    readable = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name)[-60:]
    path = cache_folder() / f"{readable}-{digest}.safetensors"
    stored = _read(path, name)
    if stored is not None:
        return stored
    dataset = build()
    try:
        _write(path, dataset)
    except OSError as cause:
        warnings.warn(
            f"decoded images of {name} could not be cached in {path.parent} ({cause.strerror or cause}); "
            "set HYPERTAIL_CACHE to a writable folder to load faster next time",
            RuntimeWarning,
            stacklevel=2,
        )
    return dataset


def _read(path: Path, name: str) -> LabelledImages | None:
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            note = json.loads((file.metadata() or {})["hypertail"])
        if note["sums"] != {key: _checksum(tensor) for key, tensor in tensors.items()}:
            return None
        train = Examples(tensors["train.images"], tensors["train.labels"])
        test = Examples(tensors["test.images"], tensors["test.labels"]) if "test.images" in tensors else None
        return LabelledImages(name, tuple(note["classes"]), train, test)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, DataError):
        return None


def _write(path: Path, dataset: LabelledImages) -> None:
    tensors = {"train.images": dataset.train.images, "train.labels": dataset.train.labels}
    if dataset.test is not None:
        tensors |= {"test.images": dataset.test.images, "test.labels": dataset.test.labels}
    sums = {key: _checksum(tensor) for key, tensor in tensors.items()}
    note = {"hypertail": json.dumps({"classes": dataset.classes, "sums": sums})}
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    os.close(handle)
    try:
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, temporary, metadata=note)
        os.replace(temporary, path)
    except SafetensorError as cause:  # how safetensors reports a full disk
        raise OSError(str(cause)) from cause
    finally:
        Path(temporary).unlink(missing_ok=True)


def _checksum(tensor: Tensor) -> int:
    return zlib.crc32(tensor.contiguous().view(torch.uint8).numpy().data)
