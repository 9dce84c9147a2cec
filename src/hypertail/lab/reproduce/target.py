"""What a reproduced table or figure is: the runs it needs, and how it is made from those that are finished."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.library import FinishedRun
from hypertail.lab.reports.papertable import PaperTable
from hypertail.lab.reproduce.setting import Setting

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Output:
    """What a target makes.

    Attributes:
        tables: written as Markdown, CSV and LaTeX, and printed.
        figures: file stem -> draws the figure; called late, so that matplotlib is imported only where it is used.
        captions: file stem of a figure -> its caption and notes, written beside it.
    """

    tables: tuple[PaperTable, ...] = ()
    figures: Mapping[str, Callable[[], Figure]] = field(default_factory=dict)
    captions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def no_runs(setting: Setting) -> tuple[RunConfig, ...]:
    """The plan of a target that is computed directly."""
    return ()


@dataclass(frozen=True)
class Target:
    """A table or figure of the paper.

    Attributes:
        name: as on the command line: `table2`.
        title: what the paper's caption says, in other words.
        sentence: what to see here, for a reader who has not read the paper.
        plan: setting -> the runs it needs.
        render: setting, finished runs -> the tables and figures. Runs of other targets may be among them; a run that is
            missing leaves a gap.
        streams: that it shows without any runs.
    """

    name: str
    title: str
    sentence: str
    plan: Callable[[Setting], tuple[RunConfig, ...]]
    render: Callable[[Setting, Sequence[FinishedRun]], Output]
    streams: tuple[str, ...] = ()

    def shows(self, setting: Setting) -> bool:
        """Whether the strategies and streams that were asked for leave something of it."""
        usual = self.streams or self.plan(replace(setting, strategies=(), streams=()))
        return not usual or bool(self.plan(setting) or setting.among(self.streams))
