"""`run.json`: everything that a finished run leaves behind, in one versioned file (docs/reference/run-json.md)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypertail.errors import CheckpointError, DataError
from hypertail.lab.records.datarecord import DataRecord
from hypertail.lab.records.schema import check, short
from hypertail.storage.atomic import write_bytes
from hypertail.storage.jsonfile import JsonError, read_json
from hypertail.storage.seal import KEY, check_seal, sealed
from hypertail.training.metrics import summarise

FORMAT = "hypertail-run"
FORMAT_VERSION = 2
"""Version 2 has a digest of all the rest; version 1 had none."""
FILE_NAME = "run.json"


def accuracy_rows(R: NDArray[np.float64]) -> tuple[tuple[float | None, ...], ...]:
    """An accuracy matrix as `RunFile` holds it: rows of floats, None where nothing was measured."""
    return tuple(tuple(None if np.isnan(value) else float(value) for value in row) for row in R)


@dataclass(frozen=True)
class TaskInfo:
    """One experience: its name, class names, number of training and test images."""

    name: str
    classes: tuple[str, ...]
    train: int
    test: int


@dataclass(frozen=True)
class Curve:
    """Test accuracies while learning task number `task` (from 0), after `epoch` of its epochs.

    `accuracy[j]` is the accuracy on e_{j+1}, in 0..1; None where not measured.
    """

    task: int
    epoch: int
    accuracy: tuple[float | None, ...]


@dataclass(frozen=True)
class RunFile:
    """One finished run; fields are named like the keys of the file.

    Accuracies are in 0..1, times in seconds, sizes in bytes. Metrics are no field: they are derived from
    `accuracy`, the one source of truth, and written to the file for other readers.

    Raises:
        DataError: a value does not fit (naming the key).
    """

    stream: str
    strategy: str
    depth: int | str | None  # frozen blocks; "full" for the full hypernetwork; None where it has no meaning
    label: str
    preset: str
    seed: int
    epochs: int
    config: Mapping[str, Any]  # every option, nested as the user likes; JSON values only
    tasks: tuple[TaskInfo, ...]
    accuracy: tuple[tuple[float | None, ...], ...]  # row i: after learning e_{i+1}; None: not measured
    seconds: float
    seconds_by_phase: Mapping[str, float]
    seconds_per_experience: tuple[float, ...]
    bytes_kept: int  # what the strategy keeps from one experience to the next
    bytes_kept_parts: Mapping[str, int]
    bytes_per_experience: tuple[int, ...]
    hypernetwork_parameters: int | None
    parameters: Mapping[str, int]
    versions: Mapping[str, str]
    hardware: Mapping[str, Any]
    command: str
    started: str  # ISO 8601
    curves: tuple[Curve, ...] = ()
    data: DataRecord | None = None  # None in files of versions that did not record it
    class_incremental: Mapping[str, Mapping[str, float]] | None = None  # None where it was not measured
    answers_changed: tuple[float | None, ...] = ()  # a share per experience; none where it was not measured
    extra: Mapping[str, Any] = field(default_factory=dict)  # keys of the file that this version does not know

    def __post_init__(self) -> None:
        try:
            check(self._content(), "run", DataError)
        except RecursionError as error:
            raise DataError(
                "run: keys 'config' and 'hardware'",
                required="values that are nested a few levels deep",
                found="more levels than can be written",
                hint="docs/reference/run-json.md describes every key.",
            ) from error

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The accuracy matrix R (N x N, float64), NaN where not measured."""
        return np.array([[np.nan if v is None else v for v in row] for row in self.accuracy], dtype=np.float64)

    @property
    def metrics(self) -> dict[str, float | None]:
        """`aca`, `forgetting`, `forgetting_max`, `learning_accuracy`, in 0..1; None where undefined."""
        return summarise(self.matrix)

    @property
    def cil(self) -> float | None:
        """Accuracy, in 0..1, where tasks are not told but found by class means; None where it was not measured."""
        found = (self.class_incremental or {}).get("class_means")
        return None if found is None else found["accuracy"]

    @property
    def changed(self) -> float | None:
        """Share of earlier answers, in 0..1, that are others at the end: the mean of `answers_changed` over i < N.

        None where it was not measured; 0 for a single experience.
        """
        earlier = self.answers_changed[:-1]
        known = [share for share in earlier if share is not None]
        if not self.answers_changed or len(known) < len(earlier):
            return None
        return fmean(known) if known else 0.0

    def to_json(self) -> dict[str, Any]:
        """The content of the file, as plain JSON values."""
        head = {"format": FORMAT, "format_version": FORMAT_VERSION}
        return sealed({**self.extra, **head, **self._content(), "metrics": self.metrics})

    def _content(self) -> dict[str, Any]:
        content = {item.name: _plain(getattr(self, item.name)) for item in fields(self) if item.name != "extra"}
        for name in ("data", "class_incremental", "answers_changed"):
            if content[name] is None or content[name] == []:
                del content[name]
        return content

    @classmethod
    def read(cls, path: str | Path) -> RunFile:
        """Read a `run.json`.

        Raises:
            CheckpointError: the file is missing, not a run, newer than this hypertail, or a key does not fit.
        """
        content = _load(Path(path))
        check(content, str(path), CheckpointError)
        return cls.from_json(content)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> RunFile:
        """The run that the content of a file describes; keys that this version does not know are kept."""
        values = {
            item.name: content[item.name] for item in fields(cls) if item.name in content and item.name != "extra"
        }
        known = {"format", "format_version", "metrics", KEY, *values}
        values["tasks"] = tuple(
            TaskInfo(task["name"], tuple(task["classes"]), task["train"], task["test"]) for task in content["tasks"]
        )
        values["accuracy"] = tuple(tuple(row) for row in content["accuracy"])
        values["seconds_per_experience"] = tuple(content["seconds_per_experience"])
        values["bytes_per_experience"] = tuple(content["bytes_per_experience"])
        values["answers_changed"] = tuple(content.get("answers_changed", []))
        values["curves"] = tuple(
            Curve(curve["task"], curve["epoch"], tuple(curve["accuracy"])) for curve in content.get("curves", [])
        )
        if "data" in values:
            values["data"] = DataRecord.from_json(content["data"])
        return cls(**values, extra={key: value for key, value in content.items() if key not in known})

    def write(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the run to `path`, whole or not at all; folders are made where missing.

        Args:
            path: the file, usually `<run folder>/run.json`.
            overwrite: replace a file that is there.

        Raises:
            CheckpointError: the file exists and `overwrite` is False.
            OSError: it cannot be written; a file that was there is kept.
        """
        path = Path(path)
        # half a surrogate pair (of a class folder whose name is not UTF-8, say) is no reason to lose a run
        content = json.loads(_text(self.to_json()).encode("utf-8", errors="replace"))
        try:
            write_bytes(path, f"{_text(sealed(content))}\n".encode(), replace=overwrite)
        except FileExistsError as error:
            raise CheckpointError(
                f"run file '{path}'",
                required="a path where nothing exists yet",
                found="a file",
                hint="Write elsewhere, or pass overwrite=True to replace it.",
            ) from error
        return path


def find_runs(paths: Iterable[str | Path]) -> list[RunFile]:
    """Every run under `paths`, each a `run.json` or a folder searched with its subfolders; none read twice.

    Raises:
        DataError: a path does not exist, or holds no run.
        CheckpointError: a run cannot be read.
    """
    found: dict[Path, RunFile] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise DataError(
                f"path '{path}'",
                required=f"a {FILE_NAME} or a folder that holds some",
                found="nothing there",
                hint="Check the spelling.",
            )
        files = sorted(path.rglob(FILE_NAME)) if path.is_dir() else [path]
        if not files:
            raise DataError(
                f"folder '{path}'",
                required=f"at least one {FILE_NAME}, in it or in a folder below",
                found="none",
                hint="A run writes it when it finishes: check that the run is done, and its output folder.",
            )
        for file in files:
            key = file.resolve()
            if key not in found:
                found[key] = RunFile.read(file)
    if not found:
        raise DataError(
            "paths of runs",
            required="at least one",
            found="none",
            hint=f"Name a {FILE_NAME} or a folder of runs.",
        )
    return list(found.values())


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)


def _load(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except OSError as error:
        raise CheckpointError(
            f"run file '{path}'",
            required="a readable file",
            found=error.strerror or type(error).__name__,
            hint="Check the path.",
        ) from error
    except JsonError as error:
        raise CheckpointError(
            f"{path}: key '{error.key}'" if error.key else f"run file '{path}'",
            required=error.required,
            found=error.found if error.key else f"text that is not ({error})",
            hint="The file is damaged: restore it or run again.",
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        kind = content.get("format") if isinstance(content, dict) else None
        raise CheckpointError(
            f"run file '{path}'",
            required=f'"format": "{FORMAT}"',
            found=f'"format": {json.dumps(kind)}' if kind is not None else "no such key",
            hint="This is some other file: name a run.json that hypertail wrote.",
        )
    version = content.get("format_version")
    if not isinstance(version, int) or version < 1:
        raise CheckpointError(
            f"{path}: key 'format_version'",
            required="a whole number from 1",
            found=short(version),
            hint="The file is damaged or was edited by hand: restore it or run again.",
        )
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"run file '{path}'",
            required=f"format_version up to {FORMAT_VERSION}",
            found=f"{version}",
            hint="A newer hypertail wrote it: upgrade with `pip install -U hypertail`.",
        )
    try:
        check_seal(content, required=version > 1)
    except JsonError as error:
        raise CheckpointError(
            f"run file '{path}'",
            required=error.required,
            found=error.found,
            hint="The file is damaged or was edited: restore it or run again.",
        ) from error
    return content


def _plain(value: Any) -> Any:
    """`value` with dataclasses as dicts and tuples as lists, as JSON has them."""
    if isinstance(value, TaskInfo | Curve):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, DataRecord):
        return value.to_json()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
