"""Tables 4 and 5: hypernetworks that differ in nothing but the order of their look-ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.library import FinishedRun, matching
from hypertail.lab.reports.papertable import Cell, Number, PaperTable
from hypertail.lab.reproduce.cells import TIMES, count, minutes, notes, percent, with_devices
from hypertail.lab.reproduce.printed import TABLE4, TABLE5, Updates
from hypertail.lab.reproduce.setting import Setting
from hypertail.lab.reproduce.target import Output, Target

STREAM = "split-cifar100"
KNOWN = ("hn-f", "hn-1", "hn-2", "hn-3", "hn-4")
USUAL: Mapping[str, tuple[str, ...]] = {"smoke": ("hn-3",), "cpu": ("hn-3", "hn-4"), "full": KNOWN}
"""Scale -> the rows that are made unless told."""
_COLUMNS = (
    *("strategy", "update", "ACA %", "ACA % paper", "learning accuracy %", "learning accuracy % paper"),
    *("time (min)", "time (min) paper", "n"),
)


def plan_updates(setting: Setting, orders: Mapping[str, str]) -> tuple[RunConfig, ...]:
    """The runs of each order, strategy by strategy."""
    return tuple(
        config
        for strategy in setting.chosen(USUAL[setting.scale], KNOWN)
        for order in orders
        for config in _configs(setting, strategy, order)
    )


def _configs(setting: Setting, strategy: str, order: str) -> tuple[RunConfig, ...]:
    if STREAM not in setting.among((STREAM,)):
        return ()
    return setting.config(STREAM, strategy, values={"lookahead": order})


def render_updates(
    setting: Setting,
    runs: Sequence[FinishedRun],
    orders: Mapping[str, str],
    printed: Mapping[tuple[str, str], Updates],
    stem: str,
    title: str,
) -> Output:
    """The table: a row for each strategy and order that is planned, and for each strategy that is finished besides."""
    rows: list[tuple[Cell, ...]] = []
    behind: list[Sequence[FinishedRun]] = []
    planned: list[RunConfig] = []
    chosen = setting.chosen(USUAL[setting.scale], KNOWN)
    for strategy in setting.chosen(KNOWN, KNOWN):
        found = {order: matching(runs, _configs(setting, strategy, order)) for order in orders}
        # one order alone, finished for another table, compares nothing
        if strategy not in chosen and not all(found.values()):
            continue
        for order, name in orders.items():
            own, paper = found[order], printed[strategy, order]
            behind.append(own)
            planned += _configs(setting, strategy, order)
            rows.append(
                (
                    strategy.upper(),
                    name,
                    percent(own, "aca"),
                    Number(paper.aca),
                    percent(own, "learning_accuracy"),
                    Number(paper.learning_accuracy),
                    minutes(own),
                    Number(paper.minutes, digits=0),
                    count(own),
                )
            )
    used = [run for own in behind for run in own]
    columns, body = with_devices(_COLUMNS, rows, behind)
    table = PaperTable(
        stem=stem,
        title=title,
        columns=columns,
        rows=body,
        notes=notes(setting, planned, used, TIMES, "The paper's values are those of one run each."),
    )
    return Output(tables=(table,))


_TABLE4 = {"none": "no look-ahead", "first": "look-ahead"}
_TABLE5 = {"first": "first order", "second": "second order"}

TARGET4 = Target(
    name="table4",
    title="Updates with and without look-ahead",
    sentence=(
        "Look-ahead computes the penalty where the next step would lead (§3): it pays if its rows stand above the rows "
        "without it by more than seeds differ, in view of the time it takes."
    ),
    plan=partial(plan_updates, orders=_TABLE4),
    render=partial(
        render_updates,
        orders=_TABLE4,
        printed=TABLE4,
        stem="table4",
        title="Table 4: updates with and without look-ahead on Split-CIFAR100",
    ),
)

TARGET5 = Target(
    name="table5",
    title="Look-ahead of first and of second order",
    sentence=(
        "Second order follows the gradient through the look-ahead step (Eq. 9), first order leaves that term out: it "
        "is enough where its accuracy is the same for less time."
    ),
    plan=partial(plan_updates, orders=_TABLE5),
    render=partial(
        render_updates,
        orders=_TABLE5,
        printed=TABLE5,
        stem="table5",
        title="Table 5: look-ahead of first and second order on Split-CIFAR100",
    ),
)
