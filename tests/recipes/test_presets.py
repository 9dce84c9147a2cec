"""The presets: what the ledger says of them, and that each runs with every strategy."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest
import torch

from hypertail.errors import ConfigError
from hypertail.lab.experiments.config import STRATEGIES, RunConfig, expand
from hypertail.lab.experiments.run import execute
from hypertail.recipes.method import Method
from hypertail.recipes.presets import PRESETS, PRINTED, RELEASED, TUNED, preset
from hypertail.streams import Stream, build_stream

EVERYONE = ("naive", "ewc", "joint", "lr-3", "separate-3", "hn-3", "hn-f")


@lru_cache
def few_digits() -> Stream:
    """The first two experiences of digits with 12 images each: the released preset generates one tail per image."""
    experiences = []
    for experience in build_stream("digits", experiences=2):
        rows = torch.arange(12)
        experiences.append(replace(experience, train=experience.train.subset(rows), test=experience.test.subset(rows)))
    return Stream("digits", tuple(experiences), experiences[0].image_shape)


@pytest.mark.parametrize("strategy", EVERYONE)
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_runs_with_every_strategy(
    name: str, strategy: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = RunConfig(
        "digits", "naive", preset=name, epochs=1, batch_size=6, method=replace(PRESETS[name], trunk_epochs=1)
    )
    out = Path(tmp_path_factory.getbasetemp(), f"presets-{name}")
    (config,) = expand([strategy], [], [0], base)
    result = execute(config, out, stream=few_digits)
    assert (result.preset, result.strategy) == (name, strategy.partition("-")[0])
    assert result.metrics["aca"] is not None
    assert len(result.accuracy) == 2


def test_every_strategy_is_among_them() -> None:
    assert {name.partition("-")[0] for name in EVERYONE} == set(STRATEGIES)


def test_tuned_is_the_default() -> None:
    assert preset("tuned") == TUNED == Method()
    assert list(PRESETS) == ["tuned", "printed", "released"]


def test_printed_and_released_follow_the_ledger() -> None:
    for method in (PRINTED, RELEASED):
        assert (method.lr, method.penalty_weight, method.lookahead, method.virtual_step) == (1e-3, 0.5, "first", "sgd")
        assert (method.embedding, method.mlp, method.rank, method.code) == (32, (50, 32), 32, "additive")
        assert (method.schedule, method.trunk_training, method.trunk_epochs) == ("constant", "with-tail", None)
        assert (method.standardise, method.curvature, method.output_weight, method.hyper_lr) == (False, False, 0, None)
        assert (method.init, method.replay_batch, method.replay_coefficient, method.ewc_weight) == ("library", 64, 1, 1)
    assert (PRINTED.reduction, PRINTED.combine, PRINTED.norm) == ("sum", "mean", "batch")
    assert (RELEASED.reduction, RELEASED.combine, RELEASED.norm) == ("mean", "sum", "instance")
    assert (RELEASED.per_sample, RELEASED.trunk_statistics) == (True, "batch")
    assert (RELEASED.new_embedding, RELEASED.head_width) == ("copied", 10)


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown preset 'relased': required one of printed, .*Did you mean 'released'?"
    ):
        preset("relased")
