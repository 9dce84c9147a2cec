"""The tests' own checks of errors: without them, a check that lets everything through would pass unseen."""

from __future__ import annotations

import pytest

from hypertail.errors import ConfigError, DataError, HypertailError
from support.errors import check_fields, refused

ERROR = DataError("image 'a.png'", required="a readable image", found="noise", hint="Replace 'a.png', or delete it.")


def test_right_fields_pass() -> None:
    check_fields(ERROR)
    check_fields(ERROR, problem="a.png", required="readable", found="noise", hint=("Replace", "delete"))
    with refused(DataError, found="noise"):
        raise ERROR


@pytest.mark.parametrize("field", ["problem", "required", "found", "hint"])
@pytest.mark.parametrize("text", ["elsewhere", ("a", "elsewhere"), ""])
def test_wrong_fields_do_not(field: str, text: str | tuple[str, ...]) -> None:
    with pytest.raises(AssertionError):
        check_fields(ERROR, **{field: text})
    with pytest.raises(AssertionError), refused(DataError, **{field: text}):
        raise ERROR


@pytest.mark.parametrize("field", ["problem", "required", "found", "hint"])
def test_an_empty_field_does_not(field: str) -> None:
    fields = {"problem": "x", "required": "x", "found": "x", "hint": "x", field: " "}
    with pytest.raises(AssertionError, match=f"the {field} of this error is empty"):
        check_fields(HypertailError(fields.pop("problem"), **fields))


def test_the_kind_is_looked_at() -> None:
    with pytest.raises(DataError), refused(ConfigError):
        raise ERROR
    with pytest.raises(pytest.fail.Exception), refused(DataError):
        pass
    with pytest.raises(AssertionError):
        check_fields(ValueError("x"))
