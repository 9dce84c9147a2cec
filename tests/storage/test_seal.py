"""A digest within a JSON object."""

from __future__ import annotations

import json

import pytest

from hypertail.storage.jsonfile import JsonError
from hypertail.storage.seal import check_seal, sealed

CONTENT = {"b": [1, 2.5, None, "ä"], "a": {"x": True}}


def test_what_was_sealed_is_accepted_in_any_order_of_its_keys() -> None:
    content = json.loads(json.dumps(sealed(CONTENT)))
    check_seal(dict(reversed(content.items())), required=True)
    assert sealed(content) == sealed(CONTENT)


@pytest.mark.parametrize("change", [{"b": [1, 2.5, None, "a"]}, {"c": 0}, {"digest": "0"}, {"digest": 3}])
def test_any_change_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(JsonError, match="by its digest"):
        check_seal({**sealed(CONTENT), **change})


def test_an_older_file_has_none() -> None:
    check_seal(CONTENT)
    with pytest.raises(JsonError, match="by its digest"):
        check_seal(CONTENT, required=True)
