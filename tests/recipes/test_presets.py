"""The presets: what DEVIATIONS.md says of them, and that each runs with every strategy."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest

from hypertail.errors import ConfigError
from hypertail.lab.experiments.config import RunConfig, expand
from hypertail.recipes.catalogue import option_types, recipe_of, strategy_names, usual_options
from hypertail.recipes.presets import PRESETS, check_preset
from hypertail.streams import Stream
from support.runs import few_digits, run_in

EVERYONE = (
    *("naive", "ewc", "joint", "lwf-3", "lwf-f", "lr-3", "separate-3", "adapter-3", "head-3", "lda-3"),
    *("hn-3", "hn-f"),
)


@lru_cache
def two_experiences() -> Stream:
    return few_digits(2, 12)


@pytest.mark.parametrize("strategy", EVERYONE)
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_runs_with_every_strategy(
    name: str, strategy: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = RunConfig("digits", "naive", preset=name, epochs=1, batch_size=6)
    out = Path(tmp_path_factory.getbasetemp(), f"presets-{name}")
    (config,) = expand([strategy], [], [0], base, {"trunk_epochs": 1})
    result = run_in(out, config, stream=two_experiences)
    assert (result.preset, result.strategy) == (name, config.strategy)
    assert result.metrics["aca"] is not None
    assert len(result.accuracy) == 2


def test_every_strategy_is_among_them() -> None:
    assert {recipe_of(name.partition("-")[0]).name for name in EVERYONE} == set(strategy_names())


def test_tuned_is_the_default() -> None:
    assert RunConfig("digits", "hn", 3).options == usual_options("hn", "tuned") == usual_options("hn")
    assert list(PRESETS) == ["tuned", "cosine-trunk", "printed", "released"]


@pytest.mark.parametrize("strategy", strategy_names())
def test_the_earlier_state_differs_in_the_training_of_the_trunk_alone(strategy: str) -> None:
    now, before = usual_options(strategy).flat(), usual_options(strategy, "cosine-trunk").flat()
    assert before == now | ({"trunk_schedule": "cosine", "trunk_epochs": 30} if "trunk_schedule" in now else {})


def test_presets_name_options_that_exist() -> None:
    for name in PRESETS:
        assert set(PRESETS[name].shared) <= set(option_types())
        for strategy in strategy_names():
            assert set(recipe_of(strategy).presets.get(name, ())) <= set(usual_options(strategy).flat())
            assert set(recipe_of(strategy).presets) <= set(PRESETS)


COMMON = {
    **{"lr": 1e-3, "penalty_weight": 0.5, "lookahead": "first", "virtual_step": "sgd"},
    **{"embedding": 32, "mlp": (50, 32), "rank": 32, "code": "additive", "vectors": "gaussian"},
    **{"schedule": "constant", "trunk_training": "with-tail", "trunk_epochs": None, "trunk_rotations": False},
    **{"standardise": False, "curvature": False, "output_weight": 0, "hyper_lr": 1e-3, "task_lr": None},
    **{"adapter_rank": 0, "classifier_rank": 0, "reference_steps": 1, "channel_vectors": "learned"},
    **{
        "init": "library",
        "replay_batch": 64,
        "replay_coefficient": 1,
        "tail_start": "fresh",
        "classifier": "generated",
        "ewc_weight": 1,
        "classifier_lr": None,
    },
}
ONE_ONLY = {
    "printed": {"reduction": "sum", "combine": "mean", "norm": "batch", "penalty_form": "closed", "head_width": None},
    "released": {
        **{"reduction": "mean", "combine": "sum", "norm": "instance", "penalty_form": "direct", "per_sample": True},
        **{"trunk_statistics": "batch", "new_embedding": "copied", "head_width": 10},
    },
}


@pytest.mark.parametrize("name", ONE_ONLY)
def test_printed_and_released_are_as_deviations_says(name: str) -> None:
    flat = {
        option: value for strategy in strategy_names() for option, value in usual_options(strategy, name).flat().items()
    }
    expected = COMMON | ONE_ONLY[name]
    assert {option: flat[option] for option in expected} == expected


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown preset 'relased': required one of cosine-trunk, .*Did you mean 'released'?"
    ):
        check_preset("relased")
