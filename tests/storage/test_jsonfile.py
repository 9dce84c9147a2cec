"""JSON that is damaged or hostile: refused with the key, never with an overflow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hypertail.storage.jsonfile import MAX_DEPTH, JsonError, parse_json, read_json


def test_plain_values_come_back() -> None:
    value = {"a": [1, 2.5, None, True, "é", {"b": {}}], "seed": 2**63, "": [], "small": -3}
    assert parse_json(json.dumps(value)) == value


@pytest.mark.parametrize("levels", [500, 100_000])
@pytest.mark.parametrize(("open_", "close"), [("[", "]"), ('{"a":', "}")])
def test_deep_nesting(levels: int, open_: str, close: str) -> None:
    """case 20: refused, whether Python's own limit is reached or not."""
    with pytest.raises(JsonError) as caught:
        parse_json(open_ * levels + "1" + close * levels)
    assert caught.value.required == f"at most {MAX_DEPTH} levels"


def test_as_deep_as_allowed() -> None:
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert json.dumps(parse_json(text)) == text


@pytest.mark.parametrize(
    ("text", "key", "found"),
    [
        ('{"a": {"b": [0, %s]}}' % ("9" * 400), "a.b[1]", "one of 1329 bits"),
        ('{"a": -%s}' % ("9" * 400), "a", "one of 1329 bits"),
        ('{"a": 18446744073709551616}', "a", "one of 65 bits"),
        ('{"a": [1, NaN]}', "a[1]", "nan"),
        ('{"a": -Infinity}', "a", "-inf"),
        ('{"a": 1e999}', "a", "inf"),
        ('{"a": 1, "b": {"c": 2, "c": 2}}', "c", "it twice"),
        ('{"a": "\\ud800"}', "a", "half a surrogate pair"),
        ('{"\\udfff": 1}', "\\udfff", "half a surrogate pair"),
        ("NaN", "", "nan"),
    ],
)
def test_odd_values_are_refused_with_their_key(text: str, key: str, found: str) -> None:
    """case 20: numbers that overflow, keys said twice, text that no file can hold."""
    with pytest.raises(JsonError) as caught:
        parse_json(text)
    assert (caught.value.key, caught.value.found) == (key, found)
    str(caught.value).encode()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b"{} {}", b"9" * 5000, b"\xef\xbb\xbf{}"])
def test_no_json(content: bytes, tmp_path: Path) -> None:
    """case 20: 5,000 digits are more than Python turns into a number."""
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(JsonError):
        read_json(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(JsonError) as caught:
        read_json(tmp_path)
    assert caught.value.required == "a file"
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "gone")
