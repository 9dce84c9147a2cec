"""Options of strategies on the command line: those of the chosen ones, and the names of earlier versions."""

from __future__ import annotations

import pytest

from hypertail.cli import parse
from hypertail.cli.options import options_of, words_after
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
    flat = options_of(parse(line.split())).flat()
    assert (flat["buffer"], flat["rank"], flat["curvature"]) == (7, 5, False)
    assert (flat["penalty_weight"], flat["schedule"]) == (0.5, "constant")  # of the preset
    assert "ewc_weight" not in flat


def test_the_names_of_earlier_versions() -> None:
    for spelling in (["--residual-rank", "3"], ["--residual-rank=3"]):
        command = parse(["run", "digits", "--strategy", "hn", "lr-2", *spelling])
        assert options_of(command).get("adapter_rank") == 3
    with pytest.raises(SystemExit):
        parse(["run", "digits", "--strategy", "hn", "--residual-rnk", "3"])


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
