"""The accuracy of one experience over time, from finished runs: what Figures 7, 8 and 11 draw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hypertail.lab.experiments.library import FinishedRun
from hypertail.lab.records.runfile import RunFile
from hypertail.lab.reports.lines import Line


def timeline(run: RunFile, j: int) -> dict[float, float]:
    """Test accuracy of experience j (from 0), in 0..1, by experiences learned, from right after learning it.

    Whole numbers come from the accuracy matrix: `timeline(run, 0)[1.0]` is R[0, 0]. Where the run was measured within
    experiences, 1.5 is halfway through learning the second one.
    """
    measured = {}
    for task in range(j, len(run.tasks)):
        measured[task + 1.0] = run.matrix[task, j]
    for curve in run.curves:
        if curve.task > j and j < len(curve.accuracy) and (value := curve.accuracy[j]) is not None:
            measured[curve.task + curve.epoch / run.epochs] = value
    return {x: float(measured[x]) for x in sorted(measured)}


def accuracy_line(
    name: str,
    runs: Sequence[FinishedRun],
    j: int,
    colour: str,
    dashes: str = "-",
    *,
    lost: bool = False,
) -> Line | None:
    """The accuracy of experience j over time in percent, a row per run; None if there is no run that learned it.

    Args:
        name: of the line.
        runs: of the same configuration with different seeds.
        j: the experience, from 0.
        colour, dashes: of the line.
        lost: draw the points lost since the experience was learned instead.
    """
    own = [timeline(run.run, j) for run in runs if j < len(run.run.tasks)]
    if not own:
        return None
    # a seed that was measured more often than another does not move the mean
    common = sorted(set.intersection(*(set(line) for line in own)))
    values: NDArray[np.float64] = 100 * np.array([[line[x] for x in common] for line in own])
    if lost:
        values = values[:, :1] - values
    marker = "o" if len(common) <= 6 else ""
    return Line(name, np.array(common), values, colour, dashes, marker)
