"""Optuna's part: which options are proposed, that they are the same each time, and what is given up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.pruners import MedianPruner, NopPruner, SuccessiveHalvingPruner, WilcoxonPruner
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from hypertail.errors import ConfigError
from hypertail.lab.records.runfile import RunFile
from hypertail.lab.tuning.plan import Search
from hypertail.lab.tuning.search import AskAndTell, distributions, encoded, pruner_of
from hypertail.lab.tuning.space import Range, combinations, listed
from hypertail.lab.tuning.trials import Trial
from support.sample_runs import sample_run
from support.searches import BASE

RANGED = {"lr": Range(1e-4, 1e-1), "embedding": Range(4, 64, whole=True), "code": ("additive", "product")}


def made(aca: float, seed: int = 0, size: int = 100) -> RunFile:
    """A run of two experiences with that ACA."""
    run = sample_run(n=2, seed=seed)
    return replace(run, accuracy=((aca, None), (aca, aca)), bytes_kept=size)


def score(values: dict[str, Any]) -> float:
    """Best at a learning rate of 0.01."""
    return float(1 / (1 + abs(values.get("lr", 0.1) - 0.01) * 100))


def proposed(search: Search, known: list[Trial], count: int) -> list[Trial]:
    """The next trials of a search that knows some, each told of by `score`."""
    study, found = AskAndTell(search, 5, None, known), list(known)
    for _ in range(count):
        proposal = study.ask()
        assert proposal is not None
        changes = search.changes(search.config(proposal.values))
        trial = Trial(changes, (made(score(dict(proposal.values))),), began=float(len(found)))
        study.tell(proposal, trial)
        found.append(trial)
    return found


@pytest.mark.parametrize("how", ["random", "tpe"])
def test_the_same_search_proposes_the_same_also_if_it_was_interrupted(how: Any) -> None:
    search = Search(BASE, RANGED, how=how, trials=16)
    whole = proposed(search, [], 16)
    assert len({json.dumps(dict(trial.changes)) for trial in whole}) == 16
    for done in (3, 12):  # before and after TPE begins to learn
        assert proposed(search, whole[:done], 16 - done) == whole
    assert AskAndTell(search, 5, None, whole).ask() is None
    # a larger number only adds some
    assert proposed(replace(search, trials=17), whole, 1)[:16] == whole


def test_tpe_looks_where_it_is_good() -> None:
    search = Search(BASE, {"lr": Range(1e-5, 1.0)}, how="tpe", trials=40)
    found = [trial.changes["lr"] for trial in proposed(search, [], 40)]

    def near(values: list[float]) -> int:
        return sum(0.003 < value < 0.03 for value in values)

    assert near(found[-20:]) > 2 * near(found[:10])


def test_what_is_drawn_can_be_spelled_and_lies_in_the_space() -> None:
    space = {**RANGED, "mlp": ((50, 32), (20, 10)), "hyper_lr": (None, 1e-3), "curvature": (True, False)}
    search = Search(BASE, space, how="random", trials=60)
    study = AskAndTell(search, 5, None, [])
    drawn = []
    while (proposal := study.ask()) is not None:
        drawn.append(proposal.values)
        assert search.values(search.changes(search.config(proposal.values))) == proposal.values
    assert all(float(f"{values['lr']:.3g}") == values["lr"] for values in drawn)
    assert {values["mlp"] for values in drawn} == {(50, 32), (20, 10)}
    assert {values["hyper_lr"] for values in drawn} == {None, 1e-3}
    for low in (1e-4, 1e-3, 1e-2):  # evenly over orders of magnitude: 20 are expected in each, with a deviation of 4
        assert 8 <= sum(low <= values["lr"] < 10 * low for values in drawn) <= 32


def test_all_combinations_are_found_where_there_are_few() -> None:
    space = {"embedding": Range(2, 9, whole=True), "code": ("additive", "product")}
    search = Search(BASE, space, how="random", trials=99)
    assert search.count == 16
    study = AskAndTell(search, 5, None, [])
    drawn = [proposal.values for _ in range(16) if (proposal := study.ask()) is not None]
    assert len({json.dumps(dict(values)) for values in drawn}) == 16
    assert study.ask() is None


def test_values_that_do_not_go_together_are_not_proposed() -> None:
    space = {"penalty_form": ("closed", "direct"), "curvature": (True, False), "lr": Range(1e-3, 1e-2)}
    study = AskAndTell(Search(BASE, space, how="random", trials=30), 5, None, [])
    while (proposal := study.ask()) is not None:
        assert not (proposal.values["penalty_form"] == "direct" and proposal.values["curvature"])


@pytest.mark.parametrize("how", ["random", "tpe"])
def test_a_search_ends_with_the_last_combination_that_goes_together(how: Any) -> None:
    space = {"curvature": (True, False), "penalty_form": ("closed", "direct"), "embedding": Range(4, 5, whole=True)}
    search = Search(BASE.with_options(curvature=False), space, how=how)
    assert search.count == 6
    search.check()
    found = proposed(search, [], 6)
    assert len({json.dumps(dict(trial.changes)) for trial in found}) == 6
    assert AskAndTell(search, 5, None, found).ask() is None
    # and one that was interrupted after three of them
    assert [trial.changes for trial in proposed(search, found[:3], 3)] == [trial.changes for trial in found]
    assert replace(search, trials=4).count == 4


def test_a_search_in_which_nothing_goes_together_is_refused() -> None:
    space = {"curvature": (True,), "penalty_form": ("direct",)}
    search = Search(BASE.with_options(curvature=False), space, how="random")
    assert search.count == 0
    with pytest.raises(ConfigError, match="penalty weighed by curvature"):
        search.check()


def test_where_no_draw_goes_together_the_message_says_what_does_not() -> None:
    space = {"curvature": (True,), "penalty_form": ("direct",), "lr": Range(1e-4, 1e-1)}
    study = AskAndTell(Search(BASE.with_options(curvature=False), space, how="random"), 5, None, [])
    with pytest.raises(ConfigError, match="penalty weighed by curvature"):
        study.ask()


def test_a_large_space_is_not_listed() -> None:
    space = {"embedding": Range(2, 9_000, whole=True), "code": ("additive", "product")}
    assert listed(space) is None
    assert Search(BASE, space, how="random", trials=7).count == 7


def test_a_grid_goes_on_with_what_was_begun_and_ends_with_every_combination() -> None:
    search = Search(BASE, {"rank": (4, 8), "lr": (0.1, 0.2)})
    done = Trial({"rank": 8, "lr": 0.1}, (made(0.5),), began=1.0)
    begun = Trial({"rank": 8, "lr": 0.2}, began=2.0)
    foreign = Trial({"rank": 9, "lr": 0.2}, (made(0.9),), began=0.0)
    study = AskAndTell(search, 5, None, [done, begun, foreign])
    assert (study.done, study.total) == (1, 4)
    asked = [proposal.values for _ in range(3) if (proposal := study.ask()) is not None]
    assert asked == [{"rank": 8, "lr": 0.2}, {"rank": 4, "lr": 0.1}, {"rank": 4, "lr": 0.2}]
    assert study.ask() is None


def test_several_processes_are_told_different_trials(tmp_path: Path) -> None:
    search = Search(BASE, RANGED, how="random", trials=12)
    journal = tmp_path / "optuna.jsonl"
    journal.write_text("a foreign file\n")
    (tmp_path / "optuna.jsonl.ask.lock").touch()  # of a killed process
    first = AskAndTell(search, 5, journal, [])
    studies = [first, AskAndTell(search, 5, journal), AskAndTell(search, 5, journal)]
    asked = [proposal for turn in range(12) if (proposal := studies[turn % 3].ask()) is not None]
    assert [proposal.number for proposal in asked] == list(range(12))
    assert [study.ask() for study in studies] == [None] * 3
    alone = AskAndTell(search, 5, None, [])
    assert [proposal.values for proposal in asked] == [p.values for _ in range(12) if (p := alone.ask()) is not None]
    # lines of JSON, which hold no code
    assert all(isinstance(json.loads(line), dict) for line in journal.read_text().splitlines())
    assert not hasattr(JournalFileBackend, "load_snapshot")  # snapshots are pickled


def test_values_in_optunas_terms() -> None:
    space = {"mlp": ((50, 32),), "hyper_lr": (None, 1e-3), "curvature": (True,), "lr": Range(1e-3, 1)}
    assert encoded(combinations({k: v for k, v in space.items() if k != "lr"})[0]) == {
        "mlp": "50x32",
        "hyper_lr": None,
        "curvature": True,
    }
    assert distributions(space)["lr"].log  # type: ignore[attr-defined]


def test_pruners() -> None:
    assert isinstance(pruner_of(Search(BASE, RANGED), 5), NopPruner)
    assert isinstance(pruner_of(Search(BASE, RANGED, prune="experiences"), 5), SuccessiveHalvingPruner)
    assert isinstance(pruner_of(Search(BASE, RANGED, (0, 1), prune="seeds"), 5), MedianPruner)
    assert isinstance(pruner_of(Search(BASE, RANGED, tuple(range(5)), prune="seeds"), 5), WilcoxonPruner)


@pytest.mark.parametrize(("seeds", "prune"), [(1, "experiences"), (3, "seeds"), (6, "seeds")])
def test_a_bad_trial_is_given_up_and_a_good_one_is_not(seeds: int, prune: Any) -> None:
    search = Search(BASE, {"rank": tuple(range(1, 9))}, tuple(range(seeds)), prune=prune)
    study = AskAndTell(search, 8, None, [])
    steps = 8 if prune == "experiences" else seeds

    def given_up(aca: float) -> int | None:
        """The step after which a trial of that ACA is given up."""
        proposal = study.ask()
        assert proposal is not None
        for step in range(steps):
            if study.give_up(proposal, step, aca + 0.001 * step):
                study.tell(proposal, Trial(proposal.values, pruned={0: (aca,)}))
                return step
        runs = tuple(made(aca, seed) for seed in search.seeds)
        study.tell(proposal, Trial(proposal.values, runs))
        return None

    assert [given_up(0.5 + 0.01 * number) for number in range(4)] == [None] * 4  # whatever they are like
    assert given_up(0.8) is None
    step = given_up(0.1)
    assert step is not None
    assert step < steps - 1
    assert study.study.get_trials()[-3].state == TrialState.PRUNED or len(study.study.get_trials()) == 8


def test_failures_are_told_as_failures() -> None:
    search = Search(BASE, {"rank": (1, 2)})
    study = AskAndTell(search, 5, None, [Trial({"rank": 1}, failures={0: "diverged"})])
    assert [trial.state for trial in study.study.get_trials()] == [TrialState.FAIL, TrialState.WAITING]


def test_several_objectives() -> None:
    search = Search(BASE, RANGED, how="tpe", trials=13, objectives=("aca", "bytes"))
    found = proposed(search, [], 13)
    study = AskAndTell(search, 5, None, found)
    assert [direction.name for direction in study.study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert [trial.values for trial in study.study.trials] == [trial.values(search) for trial in found]
