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
        extended: from the arguments to a subclass of `options` with those that other arguments bring along.
        failure: exit status where it ends with an error.
        stopped: from the arguments after the name of the program to the message shown when the command is interrupted.
    """

    options: type[T]
    execute: Callable[[T, Console, str], None]
    extended: Callable[[Sequence[str]], type[T]] | None = None
    stopped: Callable[[Sequence[str]], str] = _stopped
    failure: int = 1
