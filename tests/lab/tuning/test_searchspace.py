"""Search spaces: what texts spell, grids, draws, and what is tried where nothing is said."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hypertail.errors import ConfigError
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.tuning.searchspace import Range, Space, arguments, default_space, draws, grid, parse_space, spell
from hypertail.recipes.method import Method
from hypertail.recipes.presets import PRINTED, TUNED

BASE = RunConfig("tiny", "hn", 4)


def test_values_of_every_kind() -> None:
    texts = [
        "penalty-weight=0.01, 1",
        "rank=76,112,76",
        "hyper-lr=none,1e-3",
        "mlp=50x32,128x64",
        "curvature=true,false",
    ]
    texts += ["code=product", "lr=1e-4..1e-2", "embedding=8..64"]
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


def test_a_value_is_parsed_to_what_its_spelling_says() -> None:
    for name, value in vars(Method()).items():
        (parsed,) = parse_space([f"{name}={spell(value)}"]).values()
        if (name, value) not in (("head_width", None), ("buffer", None), ("trunk_epochs", None)):
            assert parsed == (value,)
            assert type(parsed[0]) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rank", "option --try rank: required SWITCH=VALUE,VALUE or SWITCH=LOW..HIGH; found no values. Write --try "),
        ("=1", "unknown switch to try '': required one of "),
        ("penalty=1", "unknown switch to try 'penalty': required one of .* Did you mean 'penalty-"),
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


def test_a_switch_twice() -> None:
    with pytest.raises(
        ConfigError, match=r"switch lr in --try: required each switch once; found it is given twice. List"
    ):
        parse_space(["lr=1", "lr=2"])


def test_a_grid_is_every_combination() -> None:
    assert grid({"lr": (1.0, 2.0), "rank": (3, 4)}) == [
        {"lr": 1.0, "rank": 3},
        {"lr": 1.0, "rank": 4},
        {"lr": 2.0, "rank": 3},
        {"lr": 2.0, "rank": 4},
    ]
    with pytest.raises(
        ConfigError, match=r"switch lr in --try: required listed values.* found the range 0.001..1. List"
    ):
        grid({"lr": Range(1e-3, 1)})


def test_draws_are_different_repeatable_and_a_larger_number_only_adds_some() -> None:
    listed: Space = {"rank": tuple(range(5)), "lr": (0.1, 0.2)}
    ranged: Space = {"lr": Range(1e-4, 1e-2), "code": ("additive", "product")}
    for space in (listed, ranged):
        few, many = draws(space, 4), draws(space, 8)
        assert many[:4] == few == draws(space, 4)
        assert len({json.dumps(drawn) for drawn in many}) == 8
        assert draws(space, 4, seed=1) != few
    assert len(draws(listed, 99)) == 10
    assert sorted(drawn["rank"] for drawn in draws({"rank": Range(2, 4, whole=True)}, 9)) == [2, 3, 4]


def test_ranges_are_drawn_evenly_over_orders_of_magnitude() -> None:
    values = [drawn["lr"] for drawn in draws({"lr": Range(1e-4, 1e-1)}, 300)]
    assert all(1e-4 <= value <= 1e-1 and float(f"{value:.3g}") == value for value in values)
    for low in (1e-4, 1e-3, 1e-2):
        # 100 are expected in each decade; the standard deviation is 8
        assert 70 < sum(low <= value < 10 * low for value in values) < 130


def test_by_default_rate_lambda_and_embedding_around_their_values() -> None:
    assert default_space(replace(BASE, method=Method(hyper_lr=3e-3, penalty_weight=0.05, embedding=32))) == {
        "hyper_lr": (0.001, 0.003, 0.009),
        "penalty_weight": (0.01, 0.05, 0.25),
        "embedding": (16, 32, 64),
    }
    assert set(default_space(replace(BASE, method=PRINTED))) == {"lr", "penalty_weight", "embedding"}
    for strategy, others in {"naive": set(), "ewc": {"ewc_weight"}, "lr": {"replay_coefficient"}}.items():
        assert set(default_space(replace(BASE, strategy=strategy))) == {"lr", *others}
    # what is nought stays nought, once
    assert default_space(replace(BASE, method=Method(penalty_weight=0)))["penalty_weight"] == (0.0,)


def test_a_method_as_options_of_a_run() -> None:
    changed = replace(TUNED, curvature=False, hyper_lr=None, mlp=(20, 10), per_sample=True, norm="instance")
    assert arguments(TUNED, TUNED) == []
    assert arguments(changed, TUNED) == [
        *("--hyper-lr", "None", "--norm", "instance", "--mlp", "20", "10", "--no-curvature", "--per-sample")
    ]
