"""How much each option matters for the ACA, as Optuna estimates it from the finished trials."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from hypertail.lab.tuning.plan import Search
from hypertail.lab.tuning.trials import Trial

LEAST = 8
"""Finished trials below which nothing is estimated."""


@dataclass(frozen=True)
class Importances:
    """Shares of the variation of the ACA over trials.

    Attributes:
        method: that estimated them, `fANOVA` or `PED-ANOVA`.
        shares: option -> share, the largest first; they sum to 1.
        trials: that they were estimated from.
    """

    method: str
    shares: Mapping[str, float]
    trials: int


def importances_of(trials: Sequence[Trial], search: Search) -> Importances | None:
    """The importance of each option that was tried; None where fewer than `LEAST` trials finished, or all are alike."""
    import optuna
    from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator, get_param_importances

    from hypertail.lab.tuning.search import distributions, encoded

    pairs = [(trial, search.values(trial.changes)) for trial in trials if trial.is_whole(search)]
    known = [(trial, values) for trial, values in pairs if values is not None]
    varying = [name for name in search.space if len({values[name] for _, values in known}) > 1]
    acas = [stat.mean if (stat := trial.stat("aca")) else 0.0 for trial, _ in known]
    if len(known) < LEAST or not varying or len(set(acas)) == 1:
        return None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study, space = optuna.create_study(direction="maximize"), distributions(search.space)
    for (_, values), aca in zip(known, acas, strict=True):
        study.add_trial(optuna.create_trial(params=encoded(values), distributions=space, value=aca))
    methods: dict[str, Callable[[], Any]] = {
        "fANOVA": partial(FanovaImportanceEvaluator, seed=0),
        "PED-ANOVA": PedAnovaImportanceEvaluator,
    }
    for method, evaluator in methods.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = get_param_importances(study, evaluator=evaluator(), params=varying)
            except (RuntimeError, ValueError):  # no variance that a forest could explain
                continue
        return Importances(method, dict(sorted(found.items(), key=lambda pair: -pair[1])), len(known))
    return None
