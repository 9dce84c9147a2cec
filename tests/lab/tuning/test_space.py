"""Search spaces: what texts spell, grids, and what is tried where nothing is said."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from hypertail.errors import ConfigError
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.tuning.space import (
    Range,
    arguments,
    check_not_fixed,
    check_space,
    combinations,
    default_space,
    parse_space,
    size,
    spell,
)
from hypertail.recipes.catalogue import option_types, strategy_names, usual_options

BASE = RunConfig("tiny", "hn", 4)


def test_values_of_every_kind() -> None:
    texts = [
        "penalty-weight=0.01, 1",
        "rank=76,112,76",
        "hyper-lr=none,1e-3",
        "mlp=50x32,128x64",
        "curvature=true,false",
        "code=product",
        "lr=1e-4..1e-2",
        "embedding=8..64",
    ]
    assert parse_space(texts) == {
        "penalty_weight": (0.01, 1.0),
        "rank": (76, 112),
        "hyper_lr": (None, 1e-3),
        "mlp": ((50, 32), (128, 64)),
        "curvature": (True, False),
        "code": ("product",),
        "lr": Range(1e-4, 1e-2),
        "embedding": Range(8, 64, whole=True),
    }


def test_a_name_of_earlier_versions() -> None:
    assert parse_space(["residual-rank=8,16"]) == {"adapter_rank": (8, 16)}


def test_a_value_is_parsed_to_what_its_spelling_says() -> None:
    seen = set()
    for strategy in strategy_names():
        for name, value in usual_options(strategy).flat().items():
            (parsed,) = parse_space([f"{name}={spell(value)}"]).values()
            assert parsed == (value,)
            assert type(parsed[0]) is type(value)
            seen.add(name)
    assert seen == set(option_types())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rank", "option --try rank: required OPTION=VALUE,VALUE or OPTION=LOW..HIGH; found no values. Write --try "),
        ("=1", "unknown option to try '': required one of "),
        ("penalty=1", "unknown option to try 'penalty': required one of .* Did you mean 'penalty-"),
        ("rank=7.5", "value of rank in --try: required a whole number; found '7.5'. Mend the value in --try."),
        ("lr=fast", "value of lr in --try: required a number; found 'fast'."),
        ("lr=nan", "value of lr in --try: required a number; found 'nan'."),
        ("rank=none", "value of rank in --try: required a whole number; found 'none'."),
        ("curvature=1", "value of curvature in --try: required true or false; found '1'."),
        ("mlp=50", "value of mlp in --try: required 2 whole numbers joined by x, as in 50x32; found '50'."),
        ("code=sum", "unknown value of code 'sum': required one of additive, product; found 'sum'."),
        ("lr=0..1", r"value of lr in --try: required a range from a number above 0 to a larger one; found '0..1'."),
        ("lr=1..1", r"value of lr in --try: required a range from a number above 0 to a larger one; found '1..1'."),
        ("code=a..b", r"value of code in --try: required listed values, as it is no number; found 'a..b'."),
    ],
)
def test_what_cannot_be_tried(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_space([text])


def test_an_option_twice() -> None:
    with pytest.raises(ConfigError, match=r"option lr in --try: required each option once; found it is given twice"):
        parse_space(["lr=1", "lr=2"])


def test_a_grid_is_every_combination() -> None:
    assert combinations({"lr": (1.0, 2.0), "rank": (3, 4)}) == [
        {"lr": 1.0, "rank": 3},
        {"lr": 1.0, "rank": 4},
        {"lr": 2.0, "rank": 3},
        {"lr": 2.0, "rank": 4},
    ]
    with pytest.raises(ConfigError, match=r"option lr in --try: required listed values.* found the range 0.001..1"):
        combinations({"lr": Range(1e-3, 1)})


def test_the_number_of_combinations() -> None:
    assert size({"lr": (1.0, 2.0), "rank": Range(3, 5, whole=True)}) == 6
    assert size({"lr": Range(1e-3, 1), "rank": (1, 2)}) == math.inf


def test_a_number_in_a_range_is_one_that_a_command_line_can_spell() -> None:
    assert Range(1e-4, 1e-2).nearest(0.00123456) == 0.00123
    assert Range(0.0012345, 1).nearest(0.0012345) == 0.0012345  # no less than its lower end
    whole = Range(2, 9, whole=True)
    assert [whole.nearest(value) for value in (1.2, 4.6, 11.0)] == [2, 5, 9]
    assert None not in whole
    assert 9 in whole


def test_by_default_what_the_recipe_says_around_its_values() -> None:
    told = BASE.with_options(hyper_lr=3e-3, penalty_weight=0.05, embedding=32)
    assert default_space(told) == {
        "hyper_lr": (0.001, 0.003, 0.009),
        "penalty_weight": (0.01, 0.05, 0.25),
        "embedding": (16, 32, 64),
    }
    # what is left open has the value that it stands for
    assert default_space(BASE)["penalty_weight"] == (0.006, 0.03, 0.15)
    printed = RunConfig("tiny", "hn", 4, preset="printed")
    assert set(default_space(printed)) == {"hyper_lr", "penalty_weight", "embedding"}
    weighed = {"ewc": {"ewc_weight"}, "lwf": {"distill_weight"}, "replay": {"replay_coefficient"}}
    for strategy, others in {"naive": set(), **weighed}.items():
        config = RunConfig("tiny", strategy, 3)
        assert set(default_space(config)) == {"lr", *others}
        check_space(default_space(config), config)
    # more numbers to a vector ask for a larger share of the diagonal
    plain = RunConfig("tiny", "lda", 3)
    assert default_space(plain) == {"ridge": (0.001, 0.01, 0.1)}
    assert default_space(plain.with_options(projection_width=50)) == {"ridge": (0.01, 0.1, 1.0)}
    # what is nought stays nought, once
    assert default_space(BASE.with_options(penalty_weight=0.0))["penalty_weight"] == (0.0,)


@pytest.mark.parametrize(
    ("space", "base", "message"),
    [
        ({}, BASE, "option --try: required at least one option with values; found none. Write"),
        (
            {"rank": (1, 2)},
            replace(BASE, strategy="replay", options=None),
            r"option rank in --try: required one that decides what LR-4 learns; found one of hn alone. Leave it out",
        ),
        ({"rank": (1, 0)}, BASE, "option --rank: required 1 or more; found 0"),
        ({"output_share": Range(0.5, 1.5)}, BASE, "option --output-share: required .*; found 1.5"),
    ],
)
def test_what_cannot_be_searched(space: Any, base: RunConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_space(space, base)


def test_an_option_is_fixed_or_tried() -> None:
    with pytest.raises(
        ConfigError,
        match=r"option rank: required either a fixed value or values to try; found --rank 5 and --try rank=.... Leave",
    ):
        check_not_fixed({"rank": (1, 2)}, BASE.with_options(rank=5))
    check_not_fixed({"rank": (1, 2)}, BASE)


def test_options_as_words_of_a_command() -> None:
    usual = usual_options("hn")
    changed = usual.replace(
        curvature=False, task_lr=None, hyper_lr=1e-3, mlp=(20, 10), per_sample=True, norm="instance"
    )
    assert arguments(usual, usual) == []
    assert arguments(changed, usual) == [
        *("--hyper-lr", "0.001", "--task-lr", "None", "--norm", "instance", "--mlp", "20", "10", "--per-sample"),
        "--no-curvature",
    ]
