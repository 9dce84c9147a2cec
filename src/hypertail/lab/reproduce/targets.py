"""The tables and figures of the paper, in its order, and those that it does not have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hypertail.errors import ConfigError
from hypertail.lab.reproduce.figures import (
    fewshot,
    figure4,
    figure6,
    figure7,
    figure8,
    figure11,
    figure12,
    memory,
    samples,
)
from hypertail.lab.reproduce.tables import ablation, table1, table2, table3, table6, updates
from hypertail.lab.reproduce.target import Target

TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        table1.TARGET,
        table2.TARGET,
        table3.TARGET,
        updates.TARGET4,
        updates.TARGET5,
        table6.TARGET,
        figure4.TARGET,
        samples.TARGET,
        figure6.TARGET,
        figure7.TARGET,
        figure8.TARGET,
        figure11.TARGET,
        figure12.TARGET,
        fewshot.TARGET,
        memory.TARGET,
        ablation.TARGET,
    )
}
"""By name; `samples` is Figure 5, `ablation` sets one option at a time another way."""

RENAMED = {"ledger": "ablation"}
"""Name in earlier versions -> name of today."""


def check_order(names: Sequence[str], lists: Mapping[str, Sequence[str | Path]]) -> None:
    """Refuse a target among the values of an option that takes several, where it stands behind them.

    Args:
        names: of targets that were found.
        lists: option -> its values. A folder that exists is meant as one, if there is a target besides.

    Raises:
        ConfigError: a value is the name of a target.
    """
    for option, values in lists.items():
        for value in values:
            folder = isinstance(value, Path) and value.exists() and names
            if str(value) in {*TARGETS, *RENAMED} and not folder:
                raise ConfigError(
                    f"option {option}",
                    required="the targets before it, and values of its own after it",
                    found=f"{option} {' '.join(map(str, values))}",
                    hint=f"Name targets before {option}.",
                )
