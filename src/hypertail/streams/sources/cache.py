"""Decoded images on disk, so that a dataset is decoded once.

One file per dataset, as `storage.checkpoint` writes it, under `$HYPERTAIL_CACHE` (default `~/.cache/hypertail`), named
by a digest of what it was made from: a changed source is a new file, and any file may be deleted at any time. It holds
every pixel of the dataset: by default only public datasets are kept (`build_stream`).
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from hypertail.errors import CheckpointError, DataError
from hypertail.storage import load_checkpoint, save_checkpoint
from hypertail.streams.names import printable, shown
from hypertail.streams.report import DatasetReport
from hypertail.streams.sources.labelled import LabelledImages
from hypertail.streams.stream import Examples

FORMAT = 3  # raised when decoding or what is stored changes, so that old files are not read
KEY = "decoded images"
"""Of the facts of such a file."""
SUFFIX = ".safetensors"


def cache_folder() -> Path:
    """Where decoded datasets are kept."""
    return Path(os.environ.get("HYPERTAIL_CACHE") or "~/.cache/hypertail").expanduser()


def fingerprint(root: Path, files: Iterable[Path]) -> str:
    """A digest of the files' places, sizes and modification times."""
    digest = hashlib.blake2b(os.fsencode(root.resolve()), digest_size=16)
    for file in sorted(files):
        line = b"\n" + os.fsencode(file.relative_to(root))
        if file.exists():  # a link to nothing is told when it is read
            status = file.stat()
            line += f"|{status.st_size}|{status.st_mtime_ns}".encode()
        digest.update(line)
    return digest.hexdigest()


def cached(name: str, key: tuple[object, ...], build: Callable[[], LabelledImages]) -> LabelledImages:
    """The dataset stored under `name` and `key`, else what `build` returns, stored for the next time.

    Its report names the file. A missing, damaged or foreign file is rebuilt. A cache that cannot be written is a
    warning, not an error.
    """
    digest = hashlib.blake2b(repr((FORMAT, name, *key)).encode(errors="backslashreplace"), digest_size=12).hexdigest()
    readable = "".join(letter if (letter.isascii() and letter.isalnum()) or letter in "-_" else "-" for letter in name)
    path = cache_folder() / f"{readable[-60:]}-{digest}{SUFFIX}"
    stored = _read(path, name)
    if stored is not None:
        return _told(stored, path)
    dataset = build()
    try:
        _write(path, dataset)
    except (CheckpointError, OSError) as error:
        cause = error.__cause__ or error
        why = (cause.strerror if isinstance(cause, OSError) else None) or cause
        warnings.warn(
            f"decoded images of {printable(name)} could not be cached in {shown(path.parent)} "
            f"({why}); set HYPERTAIL_CACHE to a writable folder to load faster next time",
            RuntimeWarning,
            stacklevel=2,
        )
        return dataset
    return _told(dataset, path)


def _told(dataset: LabelledImages, path: Path) -> LabelledImages:
    if dataset.report is None:
        return dataset
    return replace(dataset, report=replace(dataset.report, cache_file=shown(path)))


def _read(path: Path, name: str) -> LabelledImages | None:
    if not path.is_file():
        return None
    try:
        tensors, facts = load_checkpoint(path)
        note = facts[KEY]
        train = Examples(tensors["train.images"], tensors["train.labels"])
        test = Examples(tensors["test.images"], tensors["test.labels"]) if "test.images" in tensors else None
        report = None if note["report"] is None else DatasetReport.from_json(note["report"])
        return LabelledImages(name, tuple(note["classes"]), train, test, report)
    except (CheckpointError, OSError, KeyError, ValueError, TypeError, AttributeError, DataError):
        return None


def _write(path: Path, dataset: LabelledImages) -> None:
    tensors = {"train.images": dataset.train.images, "train.labels": dataset.train.labels}
    if dataset.test is not None:
        tensors |= {"test.images": dataset.test.images, "test.labels": dataset.test.labels}
    report = None if dataset.report is None else dataset.report.to_json()
    save_checkpoint(path, tensors, {KEY: {"name": dataset.name, "classes": dataset.classes, "report": report}})
