"""What each key of a `run.json` must hold; one clear error for the first that does not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, cast

import numpy as np

from hypertail.errors import CheckpointError, DataError
from hypertail.lab.records.datarecord import DataRecord
from hypertail.storage.jsonfile import MAX_INTEGER
from hypertail.training.metrics import summarise

# Metrics in a file are derived from its matrix; writers may round them this much.
_TOLERANCE = 1e-4
_MAX_SECONDS = 1e12  # as good as for ever; larger numbers than that cannot be drawn


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < MAX_INTEGER


def _is_count(value: object) -> bool:
    return _is_integer(value) and cast(int, value) >= 0


def _is_seconds(value: object) -> bool:
    return (_is_count(value) or isinstance(value, float)) and 0 <= cast(float, value) < _MAX_SECONDS


def _is_share(value: object) -> bool:
    return value is None or (_is_seconds(value) and cast(float, value) <= 1)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_json(value: object) -> bool:
    return _not_json(value, "") is None


def _not_json(value: object, key: str) -> str | None:
    """The key of the first part of `value` that JSON cannot hold, or None."""
    if isinstance(value, Mapping):
        parts = [
            (item, f"{key}.{name}" if isinstance(name, str) else f"{key}[{name!r}]") for name, item in value.items()
        ]
        odd = [where for (_, where), name in zip(parts, value, strict=True) if not isinstance(name, str)]
        return odd[0] if odd else next(filter(None, (_not_json(item, where) for item, where in parts)), None)
    if isinstance(value, list):
        return next(filter(None, (_not_json(item, f"{key}[{i}]") for i, item in enumerate(value))), None)
    fits = value is None or isinstance(value, str | bool) or _is_integer(value)
    fits = fits or (isinstance(value, float) and math.isfinite(value))
    return None if fits else f"{key} = {short(value)}"


def _is_task(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and {"name", "classes", "train", "test"} <= value.keys()
        and isinstance(value["name"], str)
        and _list_of(lambda item: isinstance(item, str))(value["classes"])
        and _is_count(value["train"])
        and _is_count(value["test"])
    )


def _is_curve(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and {"task", "epoch", "accuracy"} <= value.keys()
        and _is_count(value["task"])
        and _is_count(value["epoch"])
        and _list_of(_is_share)(value["accuracy"])
    )


def _is_data(value: object) -> bool:
    if not isinstance(value, Mapping) or not _is_text(value.get("digest")) or not _is_json(value):
        return False
    if not isinstance(value.get("reports"), list):
        return False
    try:
        DataRecord.from_json(value)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError):
        return False
    return True


def _is_class_incremental(value: object) -> bool:
    return _dict_of(
        lambda way: (
            isinstance(way, Mapping)
            and all(way.get(name) is not None and _is_share(way[name]) for name in ("accuracy", "right_task"))
        )
    )(value)


def _list_of(item: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(item(part) for part in value)


def _dict_of(item: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, Mapping) and all(isinstance(key, str) and item(part) for key, part in value.items())
    )


# What each required key must be, in words and as a test.
_KEYS: dict[str, tuple[str, Callable[[object], bool]]] = {
    "stream": ("a text", _is_text),
    "strategy": ("a text", _is_text),
    "depth": ('a whole number from 0, "full" or null', lambda v: v is None or v == "full" or _is_count(v)),
    "label": ("a text", _is_text),
    "preset": ("a text", _is_text),
    "seed": ("a whole number", _is_integer),
    "epochs": ("a whole number from 0", _is_count),
    "config": ("an object of JSON values (finite numbers)", lambda v: isinstance(v, Mapping) and _is_json(v)),
    "tasks": (
        "a list of tasks, each with name, classes, train and test",
        lambda v: _list_of(_is_task)(v) and v != [],
    ),
    "accuracy": ("a list of rows of numbers in 0..1 or null", _list_of(_list_of(_is_share))),
    "seconds": ("a number from 0 to 1e12", _is_seconds),
    "seconds_by_phase": ("an object of numbers from 0 to 1e12", _dict_of(_is_seconds)),
    "seconds_per_experience": ("a list of numbers from 0 to 1e12", _list_of(_is_seconds)),
    "bytes_kept": ("a whole number from 0", _is_count),
    "bytes_kept_parts": ("an object of whole numbers from 0", _dict_of(_is_count)),
    "bytes_per_experience": ("a list of whole numbers from 0", _list_of(_is_count)),
    "hypernetwork_parameters": ("a whole number from 0, or null", lambda v: v is None or _is_count(v)),
    "parameters": ("an object of whole numbers from 0", _dict_of(_is_count)),
    "versions": ("an object of texts", _dict_of(lambda v: isinstance(v, str))),
    "hardware": ("an object of JSON values", lambda v: isinstance(v, Mapping) and _is_json(v)),
    "command": ("a text, which may be empty", lambda v: isinstance(v, str)),
    "started": ("a text, which may be empty", lambda v: isinstance(v, str)),
}


def check(content: Mapping[str, Any], where: str, error: type[DataError] | type[CheckpointError]) -> None:
    """Raise `error` naming the first key of `content` that does not fit."""

    def fail(key: str, required: str, found: str) -> NoReturn:
        read = "The file is damaged or was edited by hand: restore it or run again."
        hint = read if error is CheckpointError else "docs/reference/run-json.md describes every key."
        raise error(f"{where}: key '{key}'", required=required, found=found, hint=hint)

    for key, (required, fits) in _KEYS.items():
        if key not in content:
            fail(key, required, "no such key")
        if not fits(content[key]):
            part = _not_json(content[key], key)
            fail(key, required, part or short(content[key]))
    if not _list_of(_is_curve)(content.get("curves", [])):
        fail("curves", "a list of points, each with task, epoch and accuracy", short(content["curves"]))
    if "data" in content and not _is_data(content["data"]):
        fail("data", "an object with digest (a text) and reports (a list)", short(content["data"]))
    if not _is_class_incremental(content.get("class_incremental", {})):
        required = "an object: way -> accuracy and right_task, numbers in 0..1"
        fail("class_incremental", required, short(content["class_incremental"]))
    n, rows = len(content["tasks"]), content["accuracy"]
    if len(rows) != n or any(len(row) != n for row in rows):
        found = f"{len(rows)} rows of {', '.join(sorted({str(len(row)) for row in rows})) or 'no'} values"
        fail("accuracy", f"a {n} x {n} matrix (one row and one column per task)", found)
    if not _list_of(_is_share)(content.get("answers_changed", [])):
        fail("answers_changed", "a list of numbers in 0..1 or null", short(content["answers_changed"]))
    for key in ("seconds_per_experience", "bytes_per_experience", "answers_changed"):
        if len(content.get(key, [])) not in (0, n):
            fail(key, f"{n} values (one per task), or none", f"{len(content[key])}")
    if "metrics" in content:
        _check_metrics(content, fail)


def _check_metrics(content: Mapping[str, Any], fail: Callable[[str, str, str], NoReturn]) -> None:
    derived = summarise(np.array([[np.nan if v is None else v for v in row] for row in content["accuracy"]]))
    written = content["metrics"]
    if not isinstance(written, Mapping):
        fail("metrics", "an object", short(written))
    for name, value in derived.items():
        # A written metric that contradicts the matrix means that one of the two was edited.
        if name not in written:
            continue
        other = written[name]
        if value is None or not isinstance(other, int | float):
            same = value is None and other is None
        else:
            same = abs(value - other) <= _TOLERANCE
        if not same:
            required = "null (not measured)" if value is None else f"{value:.6g}"
            fail(f"metrics.{name}", f"{required}, as key 'accuracy' gives", short(other))


def short(value: object) -> str:
    """What was found, cut to the length of an error message."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # numbers that are too long to be written, or lists that are too deep
        text = f"a {type(value).__name__} that is too long to be shown"
    return text if len(text) <= 60 else f"{text[:57]}..."
