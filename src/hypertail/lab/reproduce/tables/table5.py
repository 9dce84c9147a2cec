"""Table 5: look-ahead of first and of second order."""

from __future__ import annotations

from collections.abc import Sequence

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.library import FinishedRun
from hypertail.lab.reproduce.printed import TABLE5
from hypertail.lab.reproduce.setting import Setting
from hypertail.lab.reproduce.tables.updates import plan_updates, render_updates
from hypertail.lab.reproduce.target import Output, Target

UPDATES = {"first": "first order", "second": "second order"}
"""Look-ahead -> its name in the table."""


def plan(setting: Setting) -> tuple[RunConfig, ...]:
    """HN at each depth with either update, all other options those of the preset."""
    return plan_updates(setting, UPDATES)


def render(setting: Setting, runs: Sequence[FinishedRun]) -> Output:
    """A row for each depth and update."""
    return render_updates(
        setting, runs, UPDATES, TABLE5, "table5", "Table 5: look-ahead of first and second order on Split-CIFAR100"
    )


TARGET = Target(
    name="table5",
    title="Look-ahead of first and of second order",
    sentence=(
        "Second order follows the gradient through the look-ahead step (Eq. 9), first order leaves that term out: it "
        "is enough where its accuracy is the same for less time."
    ),
    plan=plan,
    render=render,
)
