"""What the listing of commands holds for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from rich.console import Console

T = TypeVar("T")


def _stopped(given: Sequence[str]) -> str:
    return "stopped"


@dataclass(frozen=True)
class Command(Generic[T]):
    """One command of `hypertail`.

    Attributes:
        options: frozen dataclass of its options, which tyro reads; its docstring is the help text.
        execute: does it, given the options, where to print, and the command line to record with results.
        default: from the arguments to the default options, where these depend on one of them.
        stopped: from the arguments after the name of the program to what is said of an interrupted command.
    """

    options: type[T]
    execute: Callable[[T, Console, str], None]
    default: Callable[[Sequence[str]], T] | None = None
    stopped: Callable[[Sequence[str]], str] = _stopped
