"""What Tables 4 and 5 share: hypernetworks that differ in nothing but the order of their look-ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.library import FinishedRun, matching
from hypertail.lab.reports.papertable import Cell, Number, PaperTable
from hypertail.lab.reproduce.cells import TIMES, count, minutes, notes, percent
from hypertail.lab.reproduce.printed import Updates
from hypertail.lab.reproduce.setting import Setting
from hypertail.lab.reproduce.target import Output

STREAM = "split-cifar100"
KNOWN = ("hn-f", "hn-1", "hn-2", "hn-3", "hn-4")
USUAL: Mapping[str, tuple[str, ...]] = {"smoke": ("hn-3",), "cpu": ("hn-3", "hn-4"), "full": KNOWN}
"""Scale -> the rows that are made unless told."""


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
    used: list[FinishedRun] = []
    planned: list[RunConfig] = []
    chosen = setting.chosen(USUAL[setting.scale], KNOWN)
    for strategy in setting.chosen(KNOWN, KNOWN):
        found = {order: matching(runs, _configs(setting, strategy, order)) for order in orders}
        # one order alone, finished for another table, compares nothing
        if strategy not in chosen and not all(found.values()):
            continue
        for order, name in orders.items():
            own, paper = found[order], printed[strategy, order]
            used += own
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
    table = PaperTable(
        stem=stem,
        title=title,
        columns=(
            *("strategy", "update", "ACA %", "ACA % paper", "learning accuracy %", "learning accuracy % paper"),
            *("time (min)", "time (min) paper", "n"),
        ),
        rows=tuple(rows),
        notes=notes(setting, planned, used, TIMES, "The paper's values are those of one run each."),
    )
    return Output(tables=(table,))
