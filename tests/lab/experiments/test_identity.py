"""When two configurations are the same run, and how the options of earlier runs are read."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from hypertail.errors import ConfigError
from hypertail.lab.experiments.config import BEFORE, STRATEGIES, RunConfig
from hypertail.lab.experiments.identity import CONCERNS, IDLE
from hypertail.lab.experiments.run import execute
from hypertail.recipes.build import build_strategy
from hypertail.recipes.method import Method
from hypertail.strategies import PartialHypernet
from support.tiny import tiny_stream

HN = RunConfig("digits", "hn", 3)
SHORT = Method(trunk_epochs=1)
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
    **{"ewc_weight": 7.0, "fisher_samples": 2, "record_cosine": True, "per_sample": True},
    **{"trunk_training": "with-tail", "trunk_statistics": "batch", "standardise": False, "trunk_epochs": 3},
    **{"trunk_rotations": False, "classifier_lr": 0.5, "adapter_rank": 3, "task_lr": 0.5},
}


def of(strategy: str, **switches: Any) -> RunConfig:
    depth = 4 if strategy in ("hn", "lr", "separate") else None
    return RunConfig("tiny", strategy, depth, epochs=2, batch_size=8, method=replace(SHORT, **switches))


def test_the_lists_name_options_that_exist() -> None:
    known = {item.name for item in (*fields(RunConfig), *fields(Method))}
    assert {*CONCERNS, *IDLE, *BEFORE, *(name for others in IDLE.values() for name, _ in others)} <= known
    assert {name for names in CONCERNS.values() for name in names} <= set(STRATEGIES)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"epochs": 11},
        {"stream": "split-cifar100"},
        {"depth": 2},
        {"views": 7},
        {"experiences": 3},
        {"validation": 0.1},
        {"method": Method(lr=0.1)},
        {"method": Method(penalty_weight=0.1)},
        {"method": Method(trunk_epochs=3)},
        {"method": Method(lookahead="first")},
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
        {"method": Method(record_cosine=True)},
        {"method": Method(virtual_step="sgd")},  # no look-ahead: no virtual step
        {"method": Method(buffer=7)},
        {"method": Method(ewc_weight=7.0)},
    ],
    ids=str,
)
def test_what_does_not_leaves_it_the_same(change: dict[str, Any]) -> None:
    assert replace(HN, **change).identity() == HN.identity()


def test_a_switch_counts_once_another_gives_it_effect() -> None:
    ahead = replace(HN, method=Method(lookahead="first"))
    assert replace(ahead, method=replace(ahead.method, virtual_step="sgd")).identity() != ahead.identity()


def test_the_length_of_the_trunk_may_be_left_out_where_it_is_that_of_the_others() -> None:
    short = replace(HN, epochs=4, method=Method(trunk_epochs=None))
    assert short.identity() == replace(short, method=Method(trunk_epochs=4)).identity()


def test_a_full_hypernetwork_has_no_trunk_to_train() -> None:
    full = replace(HN, depth=0)
    other = Method(trunk_epochs=3, standardise=False, trunk_training="with-tail")
    assert replace(full, method=other).identity() == full.identity()
    assert replace(HN, method=other).identity() != HN.identity()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_switches_that_do_not_concern_a_strategy_change_nothing_it_does(strategy: str, tmp_path: Path) -> None:
    # the claim of CONCERNS, tried: all of them at once, the same accuracies to the last bit
    idle = {name: value for name, value in OTHER.items() if strategy not in CONCERNS[name]}
    assert idle
    usual = of(strategy)
    other = replace(of(strategy, **idle), views=1 if strategy not in CONCERNS["views"] else usual.views)
    assert usual.identity() == other.identity()
    stream = tiny_stream(2, per_class=6, size=16)
    runs = [
        execute(config, tmp_path / name, stream=lambda: stream, speed="full", cache_bytes=1 << 24)
        for name, config in (("usual", usual), ("other", other))
    ]
    assert runs[0].accuracy == runs[1].accuracy


def test_records() -> None:
    often = replace(HN, eval_every=1)
    assert HN.records(HN)
    assert often.records(HN)
    assert often.records(replace(HN, eval_every=2))
    assert not HN.records(often)
    assert not replace(HN, eval_every=2).records(replace(HN, eval_every=3))
    cosine = replace(HN, method=Method(record_cosine=True))
    assert cosine.records(HN)
    assert not HN.records(cosine)


@pytest.mark.parametrize("config", [HN, of("naive"), RunConfig("digits", "hn", 0, method=Method(mlp=(7, 8), buffer=3))])
def test_options_survive_json(config: RunConfig) -> None:
    assert RunConfig.from_json(config.to_json()) == config


def test_a_switch_that_an_earlier_run_did_not_have() -> None:
    content = HN.to_json()
    for name in ("damping", "channel_vectors"):
        del content["method"][name]
    read = RunConfig.from_json(content)
    assert read.method.damping == Method().damping  # its default
    # what was done before there was such a switch is not what its default does now
    assert read.method.channel_vectors == "learned" != Method().channel_vectors


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
    assert (usual.method.penalty_weight, usual.method.damping) == (None, None)
    spelled = replace(usual, method=Method(penalty_weight=weight, damping=damping))
    assert usual.identity() == spelled.identity()
    for other in (Method(penalty_weight=0.01), Method(damping=0.1)):
        assert replace(usual, method=other).identity() != usual.identity()
    stream = tiny_stream(2)
    built = [build_strategy(config, stream, nn.Sequential()) for config in (usual, spelled)]
    for strategy in built:
        assert isinstance(strategy, PartialHypernet)
        assert strategy.curvature is not None
        assert (strategy.penalty_weight, strategy.curvature.damping) == (weight, damping)
