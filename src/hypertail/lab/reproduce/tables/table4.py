"""Table 4: partial hypernetworks with and without look-ahead."""

from __future__ import annotations

from collections.abc import Sequence

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.library import FinishedRun
from hypertail.lab.reproduce.printed import TABLE4
from hypertail.lab.reproduce.setting import Setting
from hypertail.lab.reproduce.tables.updates import plan_updates, render_updates
from hypertail.lab.reproduce.target import Output, Target

UPDATES = {"none": "no look-ahead", "first": "look-ahead"}
"""Look-ahead -> its name in the table."""


def plan(setting: Setting) -> tuple[RunConfig, ...]:
    """HN at each depth with either update, all other options those of the preset."""
    return plan_updates(setting, UPDATES)


def render(setting: Setting, runs: Sequence[FinishedRun]) -> Output:
    """A row for each depth and update."""
    return render_updates(
        setting, runs, UPDATES, TABLE4, "table4", "Table 4: updates with and without look-ahead on Split-CIFAR100"
    )


TARGET = Target(
    name="table4",
    title="Updates with and without look-ahead",
    sentence=(
        "Look-ahead computes the penalty where the next step would lead (§3): it pays if its rows stand above the rows "
        "without it by more than seeds differ, in view of the time it takes."
    ),
    plan=plan,
    render=render,
)
