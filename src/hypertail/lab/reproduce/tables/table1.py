"""Table 1: learning accuracy of each experience, latent replay and hypernetworks, with and without noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.library import FinishedRun, matching
from hypertail.lab.reports.papertable import Cell, PaperTable
from hypertail.lab.reproduce.cells import count, learned, notes
from hypertail.lab.reproduce.printed import TABLE1
from hypertail.lab.reproduce.setting import Setting
from hypertail.lab.reproduce.target import Output, Target

STREAMS: Mapping[str, str] = {"noisy-cifar100-clean": "clean", "noisy-cifar100": "noisy"}
"""Stream -> its name in the table."""
STRATEGIES = ("lr-2", "hn-2", "lr-3", "hn-3", "lr-4", "hn-4")


def plan(setting: Setting) -> tuple[RunConfig, ...]:
    """LR and HN at depths 2 to 4 on both streams."""
    return tuple(
        config
        for strategy in setting.chosen(STRATEGIES, STRATEGIES)
        for stream in setting.among(tuple(STREAMS))
        for config in setting.config(stream, strategy)
    )


def render(setting: Setting, runs: Sequence[FinishedRun]) -> Output:
    """A row for each strategy and stream, a pair of columns for each experience."""
    rows: list[tuple[Cell, ...]] = []
    for strategy in setting.chosen(STRATEGIES, STRATEGIES):
        for stream in setting.among(tuple(STREAMS)):
            own = matching(runs, setting.config(stream, strategy))
            cells: list[Cell] = [strategy.upper(), STREAMS[stream]]
            for task, printed in enumerate(TABLE1[strategy, STREAMS[stream]]):
                cells += [learned(own, task), printed.number]
            rows.append((*cells, count(own)))
    table = PaperTable(
        stem="table1",
        title="Table 1: accuracy on each experience right after learning it, %, on the clean and the noisy stream",
        columns=("strategy", "stream", *(name for i in range(1, 5) for name in (f"e{i} %", f"e{i} % paper")), "n"),
        rows=tuple(rows),
        notes=notes(
            setting,
            plan(setting),
            matching(runs, plan(setting)),
            "Noise: e2 solarized, e3 blurred, e4 grey with more contrast and blurred; e1 is the same in both streams.",
            "The paper's values are means ± deviation of three runs.",
        ),
    )
    return Output(tables=(table,))


TARGET = Target(
    name="table1",
    title="Learning accuracy of each experience on the clean and the noisy stream",
    sentence=(
        "How well each new experience is learned: where latent replay stands above the hypernetwork of the same depth, "
        "that is the price the hypernetwork pays for not forgetting."
    ),
    plan=plan,
    render=render,
)
