"""The optimiser that options ask for."""

from __future__ import annotations

from collections.abc import Mapping

from hypertail.nets.models import Cut
from hypertail.recipes.options import Options
from hypertail.recipes.shared import ClassifierRate, Optimiser
from hypertail.strategies import Optimisation


def optimisation(options: Options, lr: float | None = None, rates: Mapping[str, float] | None = None) -> Optimisation:
    """Adam as the options say, a trunk that learns along at `--lr`.

    Args:
        options: of the run.
        lr: learning rate of everything else; None for `--lr`.
        rates: of further parts.
    """
    chosen = options[Optimiser]
    parts = {"trunk": chosen.lr, **(rates or {})}
    return Optimisation(lr or chosen.lr, chosen.schedule, chosen.optimizer_state, rates=parts)


def tail_optimisation(options: Options, cut: Cut) -> Optimisation:
    """The same for a stored tail, which has a rate of its own where it is a classifier alone."""
    return optimisation(options, options[ClassifierRate].classifier_lr if cut.is_classifier else None)
