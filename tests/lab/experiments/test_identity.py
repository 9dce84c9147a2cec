"""When two configurations are the same run, and how the options of earlier runs are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from hypertail.errors import ConfigError
from hypertail.lab.experiments.config import BEFORE, RENAMED, RunConfig
from hypertail.lab.experiments.describe import differences
from hypertail.lab.experiments.run import strategy_of
from hypertail.recipes.catalogue import option_types, recipe_of, strategy_names
from hypertail.strategies import PartialHypernet
from support.errors import refused
from support.runs import changed, run_in
from support.tiny import tiny_stream

STRATEGIES = tuple(strategy_names())
HN = RunConfig("digits", "hn", 3)
SHORT = dict(trunk_epochs=1)
# A value of every switch that no preset has.
OTHER: dict[str, Any] = {
    **{"hyper_lr": 0.1, "norm": "instance", "embedding": 7, "mlp": (6, 5), "rank": 3, "code": "product"},
    **{
        "channel_vectors": "learned",
        "vectors": "gaussian",
        "init": "library",
        "new_embedding": "copied",
        "penalty_weight": 7.0,
    },
    **{"reduction": "mean", "penalty_form": "direct", "lookahead": "first", "virtual_step": "sgd", "combine": "sum"},
    **{"curvature": False, "damping": 0.7, "output_weight": 0.7, "output_tasks": 3, "output_share": 0.25},
    **{"buffer": 3, "buffer_policy": "reservoir", "replay_batch": 5, "replay_coefficient": 0.5},
    **{"distill_weight": 0.3, "distill_temperature": 5.0},
    **{"ewc_weight": 7.0, "fisher_samples": 2, "record_cosine": True, "per_sample": True},
    **{"trunk_training": "with-tail", "trunk_statistics": "batch", "standardise": False, "trunk_epochs": 3},
    **{"trunk_rotations": False, "trunk_schedule": "cosine", "classifier_lr": 0.5, "adapter_rank": 3, "task_lr": 0.5},
    **{"views": 1},
}


def of(strategy: str, **options: Any) -> RunConfig:
    depth = 4 if recipe_of(strategy).has_depth else None
    return RunConfig("tiny", strategy, depth, epochs=2, batch_size=8, options={**SHORT, **options})


def test_the_lists_name_options_that_exist() -> None:
    assert {*BEFORE, *RENAMED.values()} <= set(option_types())
    assert set(OTHER) <= set(option_types())
    assert not set(RENAMED) & set(option_types())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_idle_options_exist(strategy: str) -> None:
    for depth in range(1, 5) if recipe_of(strategy).has_depth else (None,):
        config = RunConfig("tiny", strategy, depth, options={"lookahead": "none", "output_weight": 0.0})
        assert set(recipe_of(strategy).idle(config.options, config.cut)) <= set(option_types())


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"epochs": 11},
        {"stream": "split-cifar100"},
        {"depth": 2},
        {"options": {"views": 7}},
        {"experiences": 3},
        {"augment": "crop"},
        {"validation": 0.1},
        {"options": dict(lr=0.1)},
        {"options": dict(penalty_weight=0.1)},
        {"options": dict(trunk_epochs=3)},
        {"options": dict(lookahead="first")},
    ],
    ids=str,
)
def test_what_decides_the_outcome_makes_another_run(change: dict[str, Any]) -> None:
    assert replace(HN, **change).identity() != HN.identity()


@pytest.mark.parametrize(
    "change",
    [
        {"preset": "printed"},
        {"eval_every": 1},
        {"options": dict(record_cosine=True)},
        {"options": dict(virtual_step="sgd")},  # no look-ahead: no virtual step
        {"options": dict(buffer=7)},
        {"options": dict(ewc_weight=7.0)},
    ],
    ids=str,
)
def test_what_does_not_leaves_it_the_same(change: dict[str, Any]) -> None:
    assert replace(HN, **change).identity() == HN.identity()


def test_a_switch_counts_once_another_gives_it_effect() -> None:
    ahead = replace(HN, options=dict(lookahead="first"))
    assert ahead.with_options(virtual_step="sgd").identity() != ahead.identity()


def test_the_length_of_the_trunk_may_be_left_out_where_it_is_that_of_the_others() -> None:
    short = replace(HN, epochs=4, options=dict(trunk_epochs=None))
    assert short.identity() == replace(short, options=dict(trunk_epochs=4)).identity()


def test_a_full_hypernetwork_has_no_trunk_to_train() -> None:
    full = replace(HN, depth=0)
    other = dict(trunk_epochs=3, standardise=False, trunk_training="with-tail")
    assert replace(full, options=other).identity() == full.identity()
    assert replace(HN, options=other).identity() != HN.identity()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_switches_that_do_not_concern_a_strategy_change_nothing_it_does(strategy: str, tmp_path: Path) -> None:
    # the claim, tried: all of them at once, the same accuracies to the last bit
    usual = of(strategy)
    idle = recipe_of(strategy).idle(usual.options, usual.cut)
    values = OTHER | {"tail_start": "pretrained" if usual.options.get("tail_start") == "fresh" else "fresh"}
    other = changed(usual, **{name: values[name] for name in idle if name in values})
    assert other.options != usual.options or not any(name in usual.options for name in idle)
    assert usual.identity() == other.identity()
    stream = tiny_stream(2, per_class=6, size=16)
    runs = [
        run_in(tmp_path / name, config, stream=lambda: stream, speed="full", cache_bytes=1 << 24)
        for name, config in (("usual", usual), ("other", other))
    ]
    assert runs[0].accuracy == runs[1].accuracy


def test_options_of_other_strategies_are_left_out() -> None:
    assert of("naive", rank=3, buffer=7) == of("naive")
    assert "rank" not in of("naive").options
    with pytest.raises(ConfigError) as error:
        RunConfig("digits", "naive", options={"rnk": 3})
    assert (error.value.problem, error.value.hint) == ("unknown option 'rnk'", "Did you mean 'rank'?")


def test_records() -> None:
    often = replace(HN, eval_every=1)
    assert HN.records(HN)
    assert often.records(HN)
    assert often.records(replace(HN, eval_every=2))
    assert not HN.records(often)
    assert not replace(HN, eval_every=2).records(replace(HN, eval_every=3))
    cosine = replace(HN, options=dict(record_cosine=True))
    assert cosine.records(HN)
    assert not HN.records(cosine)


@pytest.mark.parametrize("config", [HN, of("naive"), RunConfig("digits", "hn", 0, options=dict(mlp=(7, 8), buffer=3))])
def test_options_survive_json(config: RunConfig) -> None:
    assert RunConfig.from_json(config.to_json()) == config


def test_a_switch_that_an_earlier_run_did_not_have() -> None:
    content = HN.to_json()
    for name in ("damping", "channel_vectors"):
        del content["method"][name]
    read = RunConfig.from_json(content)
    assert read.options.get("damping") is None  # its default
    # what was done before there was such a switch is not what its default does now
    assert read.options.get("channel_vectors") == "learned" != HN.options.get("channel_vectors")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"stream": "digits", "strategy": "naive", "sede": 3},
            "unknown option of a run 'sede': .* Did you mean 'seed'",
        ),
        (
            {"stream": "digits", "strategy": "naive", "method": {"rnk": 3}},
            "unknown option of a run 'rnk': .* Did you mean 'rank'",
        ),
        ({"stream": "digits"}, "options of a run: required those that hypertail writes, as JSON; found .*'strategy'"),
        ({"stream": "digits", "strategy": "naive", "method": 3}, "options of a run: .*; found int"),
        ({"stream": "digits", "strategy": "naive", "epochs": 0}, "option --epochs: required 1 or more; found 0"),
        ({"stream": "digits", "strategy": "naive", "epochs": "ten"}, "options of a run: required those"),
    ],
)
def test_options_that_cannot_be_read(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RunConfig.from_json(content)


@pytest.mark.parametrize(("depth", "weight", "damping"), [(4, 0.03, 0.3), (3, 0.0015, 0.03), (0, 0.0015, 0.03)])
def test_usual_values_that_follow_the_depth_are_those_values(depth: int, weight: float, damping: float) -> None:
    usual = replace(HN, depth=depth)
    assert (usual.options.get("penalty_weight"), usual.options.get("damping")) == (None, None)
    spelled = replace(usual, options=dict(penalty_weight=weight, damping=damping))
    assert usual.identity() == spelled.identity()
    for other in (dict(penalty_weight=0.01), dict(damping=0.1)):
        assert replace(usual, options=other).identity() != usual.identity()
    stream = tiny_stream(2)
    built = [strategy_of(config, stream, nn.Sequential()) for config in (usual, spelled)]
    for strategy in built:
        assert isinstance(strategy, PartialHypernet)
        assert strategy.curvature is not None
        assert (strategy.penalty_weight, strategy.curvature.damping) == (weight, damping)


def test_an_augmentation_is_part_of_a_run_only_where_one_is_asked_for() -> None:
    assert "augment" not in HN.identity()
    before = HN.to_json()
    del before["augment"]
    assert RunConfig.from_json(before).identity() == HN.identity()
    names = {replace(HN, augment=augment).run_name for augment in (None, "none", "crop", "crop-flip")}
    assert len(names) == 4
    assert HN.run_name == "digits-hn-3-tuned-e10-seed0"
    with refused(ConfigError, problem="augmentation", found="'flip'", hint="'crop-flip'"):
        replace(HN, augment="flip")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"images_per_class": 9}, ["images-per-class not given (asked for: 9)"]),
        ({"experiences": 3, "seed": 4}, ["seed 0 (asked for: 4)", "experiences not given (asked for: 3)"]),
        ({"stream": "folder:Photos"}, ["stream digits (asked for: folder:Photos)"]),
        ({"model": "cifar-resnet20"}, ["model slim-resnet18 (asked for: cifar-resnet20)"]),
        ({"augment": "crop"}, ["augment not given (asked for: crop)"]),
        ({"options": {"curvature": True, "damping": 0.5}}, ["damping 0.03 (asked for: 0.5)"]),
        ({"options": {"curvature": False}}, ["curvature true (asked for: false)"]),
        ({"eval_every": 2}, ["eval-every 0 (asked for: 2)"]),
        ({"options": {"record_cosine": True}}, ["record-cosine false (asked for: true)"]),
        ({}, []),
    ],
    ids=str,
)
def test_options_that_differ_are_named(change: dict[str, Any], told: list[str]) -> None:
    found = differences(HN, replace(HN, **change))
    assert set(told) <= set(found)
    assert bool(found) == bool(told)


def test_streams_whose_names_differ_in_a_capital_alone_are_two() -> None:
    one, other = (replace(HN, stream=f"folder:{name}") for name in ("photos", "Photos"))
    assert differences(one, other) == ["stream folder:photos (asked for: folder:Photos)"]


def test_a_run_that_records_more_stands_for_one_that_records_less() -> None:
    assert differences(replace(HN, eval_every=1), replace(HN, eval_every=2)) == []


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
@pytest.mark.parametrize("recorded", [{}, {"trunk_schedule": None}])
def test_the_rate_of_the_trunk_was_that_of_the_tail_in_earlier_runs(schedule: str, recorded: dict[str, Any]) -> None:
    content = HN.with_options(schedule=schedule).to_json()
    del content["method"]["trunk_schedule"]
    content["method"] |= recorded
    earlier = RunConfig.from_json(content)
    assert earlier.options.get("trunk_schedule") == schedule
    same = HN.with_options(schedule=schedule, trunk_schedule=schedule)
    assert earlier.identity() == same.identity()
    assert earlier.identity() != HN.identity()


def test_the_rate_of_a_trunk_that_learns_with_its_tail_is_the_tails() -> None:
    assert HN.identity() != HN.with_options(trunk_schedule="cosine").identity()
    with_tail = HN.with_options(trunk_training="with-tail", standardise=False)
    assert with_tail.identity() == with_tail.with_options(trunk_schedule="cosine").identity()


def test_earlier_tuned_runs_are_those_of_a_preset() -> None:
    for strategy in STRATEGIES:
        tuned = of(strategy)
        content = tuned.to_json()
        content["method"].pop("trunk_schedule", None)
        earlier = replace(tuned, preset="cosine-trunk", options=SHORT)
        assert RunConfig.from_json(content).identity() == earlier.identity()
