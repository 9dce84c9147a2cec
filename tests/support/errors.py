"""Errors looked at field by field, so that a better wording of a message breaks one snapshot and not a hundred tests.

`with refused(DataError, problem="class 'a'", hint="--data"): ...` asks for a `DataError` whose fields hold these texts;
`support.commands.told` asks the same of a command. The wording itself is pinned once, in `tests/house/messages.txt`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hypertail.errors import HypertailError

Texts = str | tuple[str, ...]
"""A text that a field must hold, or several."""


def check_fields(
    error: BaseException, *, problem: Texts = (), required: Texts = (), found: Texts = (), hint: Texts = ()
) -> None:
    """Each field of `error` is told, and holds its texts."""
    assert isinstance(error, HypertailError), f"{type(error).__name__} has no fields: {error}"
    wanted = {"problem": problem, "required": required, "found": found, "hint": hint}
    for name, texts in wanted.items():
        value = getattr(error, name)
        assert value.strip(), f"the {name} of this error is empty: {error}"
        for text in (texts,) if isinstance(texts, str) else texts:
            assert text, f"an empty text is in every {name}"
            assert text in value, f"no '{text}' in the {name} '{value}'"


@contextmanager
def refused(
    kind: type[HypertailError],
    *,
    problem: Texts = (),
    required: Texts = (),
    found: Texts = (),
    hint: Texts = (),
) -> Iterator[None]:
    """What is done within raises an error of this kind with these texts in its fields."""
    with pytest.raises(kind) as caught:
        yield
    check_fields(caught.value, problem=problem, required=required, found=found, hint=hint)
