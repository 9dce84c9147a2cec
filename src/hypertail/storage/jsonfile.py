"""Read JSON that may be damaged, or made to do harm: what is odd in it is named, and nothing overflows."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

MAX_DEPTH = 64
"""Objects and lists may lie this deep in each other."""

MAX_INTEGER = 2**64
"""Whole numbers are smaller than this, so that each is a float as well."""


class JsonError(ValueError):
    """A text that is no JSON, or holds what no reader should have to expect.

    Args:
        key: where, as in `tasks[3].name`; empty for the text as a whole.
        required: what would have been right.
        found: what was there instead.
    """

    def __init__(self, key: str, required: str, found: str) -> None:
        self.key, self.required, self.found = key, required, found
        super().__init__(f"key '{key}': required {required}; found {found}" if key else found)


def read_json(path: Path) -> Any:
    """The content of a JSON file, as `parse_json` gives it.

    Raises:
        JsonError: it is not such a file.
        OSError: it cannot be read.
    """
    if path.exists() and not path.is_file():
        raise JsonError("", "a file", "something that is no file")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise JsonError("", "UTF-8 text", str(error)) from error
    return parse_json(text)


def parse_json(text: str) -> Any:
    """The value that a JSON text holds.

    Raises:
        JsonError: it is no JSON, says a key twice, is nested deeper than `MAX_DEPTH`, or holds a whole number from
            `MAX_INTEGER`, a number that is not finite, or half a surrogate pair.
    """
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except RecursionError as error:
        raise JsonError("", f"at most {MAX_DEPTH} levels", "more levels than can be read") from error
    except JsonError:
        raise
    except ValueError as error:
        raise JsonError("", "JSON", str(error)) from error
    # a list of what is left to look at, since a function that calls itself has a limit, too
    left: list[tuple[str, int, Any]] = [("", 0, value)]
    while left:
        key, depth, item = left.pop()
        if isinstance(item, dict):
            for name in item:
                _check(f"{key}.{name}" if key else name, name)
            left += [(f"{key}.{name}" if key else name, depth + 1, part) for name, part in item.items()]
        elif isinstance(item, list):
            left += [(f"{key}[{number}]", depth + 1, part) for number, part in enumerate(item)]
        else:
            _check(key, item)
        if depth > MAX_DEPTH:
            raise JsonError(_short(key), f"at most {MAX_DEPTH} levels", "more")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise JsonError(_short(name), "each key once", "it twice")
        found[name] = value
    return found


def _check(key: str, value: object) -> None:
    if isinstance(value, int) and abs(value) >= MAX_INTEGER:
        raise JsonError(_short(key), "a whole number of at most 64 bits", f"one of {value.bit_length()} bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise JsonError(_short(key), "a finite number", repr(value))
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise JsonError(_short(ascii(key)[1:-1]), "text", "half a surrogate pair")


def _short(key: str) -> str:
    return key if len(key) <= 80 else f"{key[:77]}..."


def json_text(content: Any) -> str:
    """JSON that `parse_json` takes: half a surrogate pair, of a file name that is not UTF-8, say, becomes `?`."""
    whole = json.dumps(content, ensure_ascii=False).encode(errors="replace")
    return json.dumps(json.loads(whole), indent=1, allow_nan=False) + "\n"
