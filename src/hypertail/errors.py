"""Errors that say what was required, what was found and how to mend it."""

from __future__ import annotations

import difflib
import math
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path


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


class BudgetError(HypertailError):
    """A change would move more of what was learned before than its budget allows; nothing was changed."""


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


def check_range(option: str, value: float | None, least: float, most: float = math.inf, *, above: bool = False) -> None:
    """Refuse a number of an option that is out of its range; None, where it is a value, is always in it.

    Args:
        option: as its user spells it, `--epochs`.
        value: what was given.
        least: the smallest number allowed, or with `above` the largest that is not.
        most: the largest number allowed; infinity itself is never allowed.
        above: the number must be more than `least`.

    Raises:
        ConfigError: naming the option and the range.
    """
    if value is None or (value < math.inf and value <= most and (value > least if above else value >= least)):
        return
    required = f"more than {least:g}" if above else f"{least:g} or more"
    if most < math.inf:
        required += f", up to {most:g}"
    raise ConfigError(
        f"option {option}", required=required, found=str(value), hint=f"Give {option} a value in that range."
    )


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
    if not known:
        required = f"a {kind} that there is"
        hint = f"Make one first: there is no {kind} yet."
        return ConfigError(f"unknown {kind} '{name}'", required=required, found="none at all", hint=hint)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"Did you mean '{near[0]}'?" if near else "Choose one of them."
    return ConfigError(f"unknown {kind} '{name}'", required=f"one of {', '.join(known)}", found=f"'{name}'", hint=hint)


_DECORATORS = ("functools", "jaxtyping", "torch.utils")
"""Modules whose frames lie between a user's call and a function of ours that is decorated."""


def warn(words: str, category: type[Warning]) -> None:
    """Warn, naming the line of the user's own program that called hypertail, whatever lies between."""
    ours, frames, frame = str(Path(__file__).parent), [sys._getframe()], sys._getframe().f_back
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    level = max(row for row, each in enumerate(frames) if each.f_code.co_filename.startswith(ours)) + 1
    while level < len(frames) and str(frames[level].f_globals.get("__name__")).startswith(_DECORATORS):
        level += 1
    warnings.warn(words, category, stacklevel=level + 1)
