"""Method `auto`: learn a task in several ways and keep the cheapest that is good enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hypertail.bank.methods.method import Method
from hypertail.nets.task_tail import TaskTail

TOLERANCE = 0.01
"""Accuracy that a cheaper method may be below the best."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A task learned in one way.

    Attributes:
        method: how.
        tail: what came of it.
        nbytes: of the task's own weights as they are stored.
        accuracy: on held-out images; None without any.
    """

    method: Method
    tail: TaskTail
    nbytes: int
    accuracy: float | None


def choose(
    methods: Sequence[Method],
    learn: Callable[[Method], Candidate],
    tolerance: float = TOLERANCE,
) -> tuple[Candidate, str]:
    """The cheapest candidate within `tolerance` of the best, and a line that says so.

    Args:
        methods: in the order in which they are tried.
        learn: learns the task by one of them.
        tolerance: in accuracy, 0..1.
    """
    tried = [learn(method) for method in methods]
    right = {candidate.method.name: candidate.accuracy or 0.0 for candidate in tried}
    good = [candidate for candidate in tried if right[candidate.method.name] >= max(right.values()) - tolerance]
    chosen = min(good, key=lambda candidate: candidate.nbytes)
    figures = ", ".join(
        f"{each.method.name} {100 * right[each.method.name]:.1f} % in {each.nbytes / 1000:.0f} kB" for each in tried
    )
    line = f"{chosen.method.name}: the cheapest within {100 * tolerance:g} points of the best on held-out images"
    return chosen, f"{line} ({figures})"
