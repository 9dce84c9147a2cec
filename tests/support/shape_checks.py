"""The run-time checker that conftest.py applies to hypertail: shape annotations; the rest is mypy's."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, get_args

from beartype import beartype
from jaxtyping import AbstractArray

Function = TypeVar("Function", bound=Callable[..., Any])


def check_shapes(function: Function) -> Function:
    """`function`, checking the arguments and the result whose annotation mentions a jaxtyping array."""
    shaped = {name: hint for name, hint in function.__annotations__.items() if _mentions_shape(hint)}
    function.__annotations__ = shaped
    return beartype(function)


def _mentions_shape(hint: object) -> bool:
    if inspect.isclass(hint) and issubclass(hint, AbstractArray):
        return True
    return any(_mentions_shape(part) for part in get_args(hint))
