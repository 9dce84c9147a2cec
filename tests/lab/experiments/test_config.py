"""Configurations: names and aliases, ranges, conflicts, and what a run's directory is called."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from hypertail.errors import ConfigError
from hypertail.lab.experiments.config import RunConfig, expand, expand_strategies
from hypertail.recipes.catalogue import parse_depth, strategies_with, strategy_names, usual_options

BASE = RunConfig("digits", "naive")
STRATEGIES = tuple(strategy_names())


@pytest.mark.parametrize(
    ("name", "pair"),
    [
        ("hn", ("hn", 3)),
        ("HN-2", ("hn", 2)),
        ("hn-f", ("hn", 0)),
        ("hn-full", ("hn", 0)),
        ("lr-4", ("replay", 4)),
        ("replay-4", ("replay", 4)),
        ("separate-1", ("separate", 1)),
        ("naive", ("naive", None)),
        ("joint", ("joint", None)),
        ("latent-replay", ("replay", 3)),
        ("latent-replay-2", ("replay", 2)),
        ("hypernetwork", ("hn", 3)),
        ("partial-hypernet-4", ("hn", 4)),
        ("full-hypernet", ("hn", 0)),
        ("finetune", ("naive", None)),
    ],
)
def test_names_aliases_and_depths(name: str, pair: tuple[str, int | None]) -> None:
    assert expand_strategies([name], ["3"]) == [pair]


def test_a_name_without_depth_meets_every_depth_and_nothing_comes_twice() -> None:
    pairs = expand_strategies(["hn", "ewc", "lr-2", "hn-2"], ["2", "full"])
    assert pairs == [("hn", 2), ("hn", 0), ("ewc", None), ("replay", 2)]


def test_a_depth_is_nothing_to_a_strategy_without_one() -> None:
    config = RunConfig("digits", "naive", 3)
    assert config == RunConfig("digits", "naive")
    assert (config.label, config.run_name, config.depth_name) == ("Naive", "digits-naive-tuned-e10-seed0", None)
    assert RunConfig.from_json({**config.to_json(), "depth": 3}).identity() == config.identity()


def test_every_strategy_is_known_to_expand() -> None:
    assert [name for name, _ in expand_strategies(list(STRATEGIES), ["1"])] == list(STRATEGIES)


def test_expand_goes_seed_by_seed_and_keeps_the_rest() -> None:
    configs = expand(["hn-3", "naive"], [], [4, 1, 4], replace(BASE, epochs=2), {"lr": 0.5, "rank": 4})
    assert [(c.seed, c.label) for c in configs] == [(4, "HN-3"), (4, "Naive"), (1, "HN-3"), (1, "Naive")]
    assert all(c.epochs == 2 and c.options.get("lr") == 0.5 and c.stream == "digits" for c in configs)


@pytest.mark.parametrize(
    ("names", "depths", "seeds", "message"),
    [
        (["hm"], ["3"], [0], "unknown strategy 'hm': required one of adapter, .*found 'hm'. Did you mean 'hn'?"),
        (["naive-3"], ["3"], [0], "unknown strategy 'naive-3'.*Did you mean 'naive'?"),
        (["hn"], ["5"], [0], "depth of hn: required 0 to 4, or full; found 5. Give --depth."),
        (["hn-9"], ["3"], [0], "depth of hn: required 0 to 4, or full; found 9"),
        (["hn-x"], ["3"], [0], "depth 'x': required 0, 1, .* or full; found x. Use --depth 3, say."),
        ([], ["3"], [0], "option --strategy: required at least one value; found none."),
        (["hn"], [], [0], "option --depth: required at least one value; found none."),
        (["hn"], ["3"], [], "option --seeds: required at least one value; found none. Name one after --seeds"),
    ],
)
def test_wrong_names(names: list[str], depths: list[str], seeds: list[int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        expand(names, depths, seeds, BASE)


@pytest.mark.parametrize(("text", "depth"), [("0", 0), ("4", 4), ("full", 0), ("F", 0), ("Full", 0)])
def test_depths_in_words(text: str, depth: int) -> None:
    assert parse_depth(text) == depth


@pytest.mark.parametrize("text", ["", "-1", "1000", "3.0", "deep", "²"])
def test_other_depths_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"required 0, 1, \.\.\. or full"):
        parse_depth(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "option --epochs: required 1 or more; found 0. Give --epochs a value in that range."),
        ({"batch_size": 1}, "option --batch-size: required 2 or more; found 1"),
        ({"experiences": 0}, "option --experiences: required 1 or more; found 0"),
        ({"eval_every": -1}, "option --eval-every: required 0 or more; found -1"),
        ({"validation": 1.0}, "option --validation: required 0 or more, less than 1; found 1.0"),
        ({"validation": math.nan}, "option --validation: .* found nan"),
    ],
)
def test_numbers_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(BASE, **options)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("lr", value) for value in (0.0, -1e-3, math.nan, math.inf)),
        *(
            ("hyper_lr", 0.0),
            ("classifier_lr", 0.0),
            ("task_lr", 0.0),
            ("adapter_rank", -1),
            ("damping", -1.0),
            ("trunk_epochs", 0),
            ("views", 0),
            ("head_width", 0),
            ("embedding", 0),
            ("mlp", (50, 0)),
            ("rank", 0),
        ),
        *(("penalty_weight", -0.1), ("penalty_weight", math.nan), ("penalty_weight", math.inf)),
        *(("output_weight", -1.0), ("output_tasks", 0), ("output_share", 0.0), ("output_share", 1.5)),
        *(("buffer", 0), ("replay_batch", 0), ("replay_coefficient", -1.0), ("ewc_weight", -1.0)),
        *(("fisher_samples", 0), ("damping", -0.1), ("ridge", -0.1), ("projection_width", -1)),
        *(("distill_weight", -0.1), ("distill_temperature", 0.0), ("distill_temperature", math.inf)),
    ],
)
def test_options_out_of_range(option: str, value: Any) -> None:
    strategy = strategies_with(option)[0]
    with pytest.raises(ConfigError) as error:
        usual_options(strategy).replace(**{option: value})
    assert error.value.problem == f"option --{option.replace('_', '-')}"


def test_the_ends_of_the_ranges_are_allowed() -> None:
    options = dict(output_share=1.0, penalty_weight=0.0, ewc_weight=0.0, replay_coefficient=0.0, buffer=1, mlp=(1, 1))
    made = [
        RunConfig("digits", strategy, 3, epochs=1, batch_size=2, validation=0.0, options={"views": 1, **options})
        for strategy in STRATEGIES
    ]
    flat = {name: value for config in made for name, value in config.options.flat().items()}
    assert {name: flat[name] for name in options} == options


HN = RunConfig("digits", "hn", 3)
ALONE_WITH_BATCH_STATISTICS = dict(trunk_statistics="batch")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"measure_on": "validation"}, "accuracies on validation data: .* found --validation 0. Add --validation 0.1"),
        ({"strategy": "nave"}, "unknown strategy 'nave'.*Did you mean 'naive'"),
        ({"depth": None}, "depth of hn: required 0 to 4, or full; found None. Give --depth."),
        (
            {"options": dict(trunk_training="with-tail")},
            "features standardised at the cut: .* Use --trunk-training alone",
        ),
        ({"options": ALONE_WITH_BATCH_STATISTICS}, "statistics of each batch: .* or --trunk-statistics fixed"),
        ({"options": dict(norm="instance"), "image_size": 8}, "image size under instance normalisation: .* found 8"),
        ({"options": dict(penalty_form="direct")}, "weighed by curvature: .* Use --penalty-form closed"),
        ({"options": dict(per_sample=True)}, "one weight set per sample: .* Use --norm instance or --no-per-sample"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(HN, **options)


def test_a_switch_that_does_not_concern_the_strategy_does_not_stop_it() -> None:
    assert replace(HN, depth=0, options=ALONE_WITH_BATCH_STATISTICS).label == "HN-F"
    assert replace(BASE, options=ALONE_WITH_BATCH_STATISTICS).label == "Naive"


def test_labels_and_directories() -> None:
    assert [(c.depth_name, c.label) for c in (HN, replace(HN, depth=0), replace(HN, strategy="lr", depth=0), BASE)] == [
        (3, "HN-3"),
        ("full", "HN-F"),
        (0, "LR-0"),
        (None, "Naive"),
    ]
    assert HN.run_name == "digits-hn-3-tuned-e10-seed0"
    odd = replace(HN, stream="folder:../my pictures/[x]", seed=7)
    assert odd.run_name == "folder-..-my-pictures--x-hn-3-tuned-e10-seed7"
    assert "/" not in odd.run_name


def test_names_of_a_grid_are_distinct() -> None:
    pretrained = ["adapter", "head", "lda"]  # these need a trunk
    others = [name for name in STRATEGIES if name not in pretrained]
    configs = [
        *expand(others, ["full", "1", "2", "3", "4"], range(3), BASE),
        *expand(pretrained, ["1", "2", "3", "4"], range(3), BASE),
    ]
    assert len({config.run_name for config in configs}) == len(configs) == 3 * (3 + 4 * 5 + 3 * 4)


@pytest.mark.parametrize("strategy", ["adapter", "head", "lda"])
def test_a_pretrained_tail_needs_a_trunk(strategy: str) -> None:
    with pytest.raises(ConfigError, match=r"above a pretrained tail: .*depth of 1 or more; found depth 0"):
        replace(BASE, strategy=strategy, depth=0)
    with pytest.raises(ConfigError, match=r"above a pretrained tail: .*found trunk-training with-tail"):
        replace(BASE, strategy=strategy, depth=3, options=dict(trunk_training="with-tail", standardise=False))


def test_json_holds_every_option() -> None:
    config = replace(HN, preset="released", options=None)
    content = config.to_json()
    assert json.loads(json.dumps(content)) == content
    assert set(content) == {*vars(config), "method"} - {"options"}
    assert set(content["method"]) == set(usual_options("hn").flat())
    assert content["method"]["mlp"] == [50, 32]


def test_an_older_file_has_other_names_and_more_options() -> None:
    older = HN.to_json()
    older["method"] |= {"buffer": None, "residual_rank": 5, "ewc_weight": 3.0}
    del older["method"]["adapter_rank"], older["method"]["views"]
    older["views"] = 7
    config = RunConfig.from_json(older)
    assert (config.options.get("adapter_rank"), config.options.get("views")) == (5, 7)
    assert config == replace(HN, options={"adapter_rank": 5, "views": 7})
    assert RunConfig.from_json({**BASE.to_json(), "strategy": "lr", "depth": 2}).strategy == "replay"
