"""Errors that say what was required, what was found and how to mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HypertailError(Exception):
    """Base of every error that hypertail raises on purpose.

    Args:
        problem: the offending thing, in a few words.
        required: what would have been right.
        found: what was there instead.
        hint: what the user can do about it.
    """

    def __init__(self, problem: str, *, required: str, found: str, hint: str) -> None:
        self.problem, self.required, self.found, self.hint = problem, required, found, hint
        super().__init__(f"{problem}: required {required}; found {found}. {hint}")


class ConfigError(HypertailError):
    """An option or a combination of options that cannot work."""


class DataError(HypertailError):
    """A dataset, folder or image that is missing or unusable."""


class TrainingError(HypertailError):
    """Training could not go on (a non-finite loss, an unknown task)."""


class CheckpointError(HypertailError):
    """A saved file that is missing, foreign or damaged."""


class MissingExtraError(HypertailError):
    """An optional dependency is not installed."""


def check_choice(kind: str, value: str, choices: Iterable[str]) -> None:
    """Refuse a value that is not one of `choices`.

    Raises:
        ConfigError: naming the nearest valid one.
    """
    known = list(choices)
    if value not in known:
        raise unknown_name(kind, value, known)


def unknown_task(task: int, learned: int) -> ConfigError:
    """The error for a task that was never begun."""
    return ConfigError(
        f"unknown task {task}",
        required=f"one of the {learned} tasks learned",
        found=str(task),
        hint="Learn the task first.",
    )


def unknown_name(kind: str, name: str, choices: Iterable[str]) -> ConfigError:
    """The error for an unknown name, naming the nearest valid one.

    Example:
        >>> print(unknown_name("strategy", "nave", ["naive", "ewc"]).hint)
        Did you mean 'naive'?
    """
    known = sorted(choices)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"Did you mean '{near[0]}'?" if near else "Choose one of them."
    return ConfigError(f"unknown {kind} '{name}'", required=f"one of {', '.join(known)}", found=f"'{name}'", hint=hint)
