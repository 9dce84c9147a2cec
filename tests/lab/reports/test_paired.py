"""Paired differences against a slow twin, and what makes runs no pair."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.records.datarecord import DataRecord
from hypertail.lab.records.runfile import RunFile
from hypertail.lab.reports.groups import Group, group_runs
from hypertail.lab.reports.paired import Difference, obstacle, paired, trained_again, why_unpaired
from support.sample_runs import sample_run, sample_runs, tiny_run


def grouped(*runs: RunFile) -> Group:
    (group,) = group_runs(runs)
    return group


def run_of(strategy: str, depth: int | None, seed: int = 0, **options: object) -> RunFile:
    config = RunConfig("digits", strategy, depth, seed=seed, options=options)  # type: ignore[arg-type]
    run = sample_run(config.strategy, depth, n=2, seed=seed, stream="digits")
    return replace(run, config=config.settled().to_json())


def test_differences_are_those_of_a_slow_twin() -> None:
    """Seed by seed, from the last rows of the matrices, in float64."""
    groups = group_runs(sample_runs(6, seeds=5))
    for mine in groups:
        for other in groups:
            twin = []
            for seed in range(5):
                (a,) = (run for run in mine.runs if run.seed == seed)
                (b,) = (run for run in other.runs if run.seed == seed)
                twin.append(np.mean(a.matrix[-1]) - np.mean(b.matrix[-1]))
            found = paired(mine, other)
            assert found is not None
            assert found.values == pytest.approx(twin, abs=1e-12)
            assert found.n == 5
            assert found.mean == pytest.approx(np.mean(twin), abs=1e-12)
            assert found.std == pytest.approx(np.std(twin, ddof=1), abs=1e-12)
            assert found.beyond is bool(mine is not other and abs(np.mean(twin)) > 2 * np.std(twin, ddof=1))


@pytest.mark.parametrize(
    ("values", "beyond"),
    [
        ((0.1,), None),
        ((0.1, 0.1), True),
        ((0.0, 0.0), False),
        ((1e-17, 1e-17), False),
        ((-0.3, -0.1), False),
        ((-0.3, -0.28), True),
    ],
)
def test_beyond_the_spread_is_more_than_two_deviations(values: tuple[float, ...], beyond: bool | None) -> None:
    assert Difference(values).beyond is beyond


def test_only_seeds_that_both_have_are_paired() -> None:
    mine = grouped(*(tiny_run([[a]], seed=seed) for seed, a in enumerate((0.5, 0.6, 0.9))))
    other = grouped(*(tiny_run([[a]], seed=seed) for seed, a in ((1, 0.5), (2, 0.6), (3, 0.1))))
    found = paired(mine, other)
    assert found is not None
    assert found.values == pytest.approx((0.1, 0.3))
    apart = grouped(tiny_run([[0.5]], seed=7))
    assert paired(mine, apart) is None
    assert why_unpaired(mine, apart) == "other seeds"


def test_runs_of_one_seed_count_as_one() -> None:
    mine = grouped(tiny_run([[0.5]]), tiny_run([[0.7]]))
    found = paired(mine, grouped(tiny_run([[0.4]])))
    assert found is not None
    assert found.values == pytest.approx((0.2,))
    assert found.std is None
    assert found.beyond is None


def test_what_makes_runs_no_pair() -> None:
    run = run_of("hn", 3)
    assert obstacle(run, run_of("separate", 3)) == ""
    assert obstacle(run, run_of("head", 4)) == ""
    assert obstacle(run, run_of("naive", None)) == ""
    assert obstacle(run, run_of("separate", 3, seed=1)) == "other seed"
    assert obstacle(run, replace(run, epochs=11)) == "other conditions"
    assert obstacle(run, replace(run, tasks=run.tasks[::-1])) == "other data"
    data = [replace(run, data=DataRecord(digest, ())) for digest in ("00", "01")]
    assert obstacle(*data) == "other data"
    assert obstacle(run, data[0]) == ""  # an older version did not record it


@pytest.mark.parametrize("options", [{"trunk_epochs": 5}, {"trunk_rotations": False}, {"lr": 0.01}])
def test_another_trunk_is_no_pair(options: dict[str, object]) -> None:
    other = run_of("separate", 3, **options)
    assert obstacle(run_of("hn", 3), other) == "other trunk"
    assert paired(grouped(run_of("hn", 3)), grouped(other)) is None
    assert why_unpaired(grouped(run_of("hn", 3)), grouped(other)) == "other trunk"


def test_a_trunk_that_was_trained_again_is_no_pair() -> None:
    here, there, older = (replace(run_of("hn", 3), extra=extra) for extra in ({"trunk": "0a"}, {"trunk": "0b"}, {}))
    assert obstacle(here, there) == "trunk trained again"
    assert obstacle(here, older) == ""
    assert obstacle(here, replace(run_of("naive", None), extra={})) == ""


def test_a_trunk_learned_with_the_tail_is_part_of_the_strategy() -> None:
    own = run_of("hn", 3, trunk_training="with-tail", standardise=False)
    assert obstacle(run_of("separate", 3), own) == ""


GPU = {"device": "cuda", "gpu": "NVIDIA H200", "cpu": "Example CPU"}


@pytest.mark.parametrize(
    "changes",
    [
        {"hardware": GPU},
        {"hardware": {"device": "cpu", "cpu": "Another CPU"}},
        {"versions": {"torch": "2.11.0"}},
        {"hardware": GPU, "extra": {"trunk": "0a"}},
    ],
)
def test_trunks_of_two_places_are_noted(changes: dict[str, object]) -> None:
    here, there = run_of("hn", 3), replace(run_of("separate", 3), **changes)  # type: ignore[arg-type]
    assert obstacle(here, there) == ""
    assert trained_again(here, there)
    found = paired(grouped(here), grouped(there))
    assert found is not None
    assert found.trained_again
    again = paired(grouped(here), grouped(run_of("separate", 3)))
    assert again is not None
    assert not again.trained_again


def test_where_no_two_trunks_can_differ_nothing_is_noted() -> None:
    here = replace(run_of("hn", 3), extra={"trunk": "0a"})
    assert not trained_again(here, replace(here, hardware=GPU))  # one trunk, carried elsewhere
    assert trained_again(here, replace(here, extra={"trunk": "0b"}))
    assert not trained_again(here, replace(run_of("naive", None), hardware=GPU))  # it freezes none
    given = RunConfig("digits", "hn", 3, weights="0" * 64).settled().to_json()
    pretrained = replace(run_of("hn", 3), config=given)
    assert not trained_again(pretrained, replace(pretrained, hardware=GPU))
