"""Options of strategies on the command line: those of the chosen ones, and the names of earlier versions."""

from __future__ import annotations

import pytest

from hypertail.cli import parse
from hypertail.cli.options import option_in, typed_options, words_after
from hypertail.cli.run import configs_of
from hypertail.recipes.catalogue import usual_options
from support.commands import told


@pytest.mark.parametrize(
    ("line", "option", "strategies", "others"),
    [
        ("run digits --strategy naive --penalty-weight 3", "--penalty-weight", "naive", "hn"),
        ("run digits --strategy naive ewc --no-curvature", "--curvature", "naive, ewc", "hn"),
        ("run digits --buffer=3", "--buffer", "hn, separate, naive", "replay"),
        ("tune digits --strategy separate-2 --ewc-weight 3", "--ewc-weight", "separate", "ewc"),
    ],
)
def test_an_option_of_other_strategies_is_refused_by_name(
    line: str, option: str, strategies: str, others: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told(
        capsys,
        *line.split(),
        problem=f"option {option}",
        required=f"an option that concerns {strategies}",
        found=f"one of {others} alone",
        hint="--strategy",
    )


def test_options_of_any_chosen_strategy_are_taken() -> None:
    line = "run digits --strategy naive hn-3 replay-2 --preset printed --buffer 7 --rank 5 --no-curvature"
    command = parse(line.split())
    assert typed_options(command) == {"buffer": 7, "rank": 5, "curvature": False}
    naive, hn, replay = (config.options.flat() for config in configs_of(command))
    assert (replay["buffer"], hn["rank"], hn["curvature"]) == (7, 5, False)
    assert (hn["penalty_weight"], hn["schedule"], naive["schedule"]) == (0.5, "constant", "constant")  # of the preset
    assert "ewc_weight" not in hn


@pytest.mark.parametrize("names", [("hn", "adapter"), ("adapter", "hn"), ("hn", "lda-4", "naive"), ("lda-4", "hn")])
@pytest.mark.parametrize("preset", ["printed", "released"])
def test_each_strategy_has_the_preset_of_its_own_in_any_order(names: tuple[str, ...], preset: str) -> None:
    configs = configs_of(parse(["run", "digits", "--preset", preset, "--strategy", *names]))
    assert len(configs) == len(names)
    for config in configs:
        assert config.options == usual_options(config.strategy, preset)


@pytest.mark.parametrize("spelling", [["--trunk-training", "alone"], ["--trunk_training=alone"]])
def test_a_value_that_is_given_counts_though_it_is_the_default_of_another_strategy(spelling: list[str]) -> None:
    line = ["run", "digits", "--preset", "printed", "--strategy", "hn", "adapter", *spelling]
    for config in configs_of(parse(line)):
        assert config.options == usual_options(config.strategy, "printed").replace(trunk_training="alone")


def test_the_names_of_earlier_versions() -> None:
    for spelling in (["--residual-rank", "3"], ["--residual-rank=3"], ["--residual_rank", "3"]):
        command = parse(["run", "digits", "--strategy", "hn", "lr-2", *spelling])
        assert typed_options(command) == {"adapter_rank": 3}
    with pytest.raises(SystemExit):
        parse(["run", "digits", "--strategy", "hn", "--residual-rnk", "3"])


@pytest.mark.parametrize(
    ("line", "spellings"),
    [
        ("run digits --batch-size 8 --batch_size 16", ("--batch-size", "--batch_size")),
        ("run digits --strategy hn --curvature --no-curvature", ("--curvature", "--no-curvature")),
        ("run digits --strategy hn --no_curvature --curvature", ("--no_curvature", "--curvature")),
    ],
)
def test_two_spellings_of_one_option_are_refused(
    line: str, spellings: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    told(capsys, *line.split(), problem=spellings, required="one of them", found="both", hint="Leave one of them out")


def test_an_earlier_name_and_that_of_today_are_one_option(capsys: pytest.CaptureFixture[str]) -> None:
    line = "run digits --strategy hn --residual_rank 3 --adapter-rank 4"
    told(capsys, *line.split(), problem="--adapter-rank", required="each option once", found="2 times")


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("--batch_size=a-b_c", "--batch-size"),
        ("--no-curvature", "--curvature"),
        ("--no_cache", "--cache"),
        ("--", ""),
        ("-h", ""),
        ("digits", ""),
    ],
)
def test_a_word_and_the_option_that_it_names(text: str, option: str) -> None:
    assert option_in(text) == option


@pytest.mark.parametrize("names", ["hn-3", "naive", "hn-3 separate-4 naive"])
def test_a_depth_that_no_strategy_takes_is_refused(names: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = f"run digits --strategy {names} --depth 4 2"
    told(capsys, *line.split(), problem="option --depth", found=(names, "--depth 4 2"), hint="Leave --depth out")


def test_a_depth_is_for_the_strategies_without_one_of_their_own() -> None:
    configs = configs_of(parse(["run", "digits", "--strategy", "hn-3", "lr", "naive", "--depth", "4"]))
    assert [(config.strategy, config.depth) for config in configs] == [("hn", 3), ("replay", 4), ("naive", None)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("run digits", []),
        ("run digits --strategy hn lr --seeds 0", ["hn", "lr"]),
        ("run digits --strategy=hn --seeds 0", ["hn"]),
        ("run --strategy", []),
    ],
)
def test_what_is_looked_for_first(line: str, words: list[str]) -> None:
    assert words_after("--strategy", line.split()) == words
