"""A digest within a JSON object, of everything else in it: a flipped bit or an edit does not go unseen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from hypertail.storage.jsonfile import JsonError

KEY = "digest"


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """`content`, JSON values alone, with its digest."""
    return {**content, KEY: _digest(content)}


def check_seal(content: Mapping[str, Any], *, required: bool = False) -> None:
    """Hold the content against the digest in it, where there is one.

    Raises:
        JsonError: it is another, or `required` and missing.
    """
    if KEY not in content and not required:
        return
    if content.get(KEY) != _digest(content):
        raise JsonError(KEY, "the content that was written", "another, by its digest")


def _digest(content: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in content.items() if name != KEY}
    text = json.dumps(rest, sort_keys=True, allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
