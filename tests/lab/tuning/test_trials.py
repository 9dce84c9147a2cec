"""The record: the choice, the Pareto front, importances, and files that are damaged."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hypertail.errors import CheckpointError
from hypertail.lab.experiments.begun import Begun
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.directories import FAILURE, PRUNED
from hypertail.lab.experiments.place import DataPlace
from hypertail.lab.records.runfile import RunFile
from hypertail.lab.tuning.importances import importances_of
from hypertail.lab.tuning.plan import Search
from hypertail.lab.tuning.record import Found, command_for, write_record
from hypertail.lab.tuning.table import build_table, for_terminal
from hypertail.lab.tuning.trials import Trial, best_of, find_trials, front_of, mark_failed
from hypertail.recipes.catalogue import usual_options
from hypertail.storage.jsonfile import read_json
from support.sample_runs import sample_run
from support.searches import BASE

SEARCH = Search(BASE, {"embedding": (16, 40, 64)})


def made(aca: float, size: int, lost: float = 0.0, seconds: float = 1.0) -> RunFile:
    """A run of two experiences with these figures."""
    run = sample_run(n=2)
    accuracy = ((aca + lost, None), (aca, aca))
    return replace(run, accuracy=accuracy, bytes_kept=size, seconds=seconds)


def trial(aca: float, size: int, lost: float = 0.0, seconds: float = 1.0, **changes: Any) -> Trial:
    """A trial with one run."""
    return Trial(changes, (made(aca, size, lost, seconds),))


def test_the_best_has_the_highest_aca_then_the_least_forgetting_then_the_smallest_size() -> None:
    large, small = trial(0.62, 900, embedding=64), trial(0.61, 500, embedding=16)
    assert best_of([small, large], SEARCH) is large
    # Appendix F: the smallest that does about as well
    assert best_of([small, large], replace(SEARCH, tolerance=0.01)) is small
    assert best_of([small, large], replace(SEARCH, tolerance=0.005)) is large
    forgets = trial(0.62, 100, 0.1, embedding=8)
    assert best_of([forgets, large], SEARCH) is large
    smaller = trial(0.62, 800, embedding=40)
    assert best_of([large, smaller], SEARCH) is smaller
    assert best_of([small, large], replace(SEARCH, seeds=(0, 1))) is None
    assert best_of([replace(large, failures={0: "diverged"}), Trial({}, pruned={0: (0.9,)})], SEARCH) is None


def test_the_table_explains_a_choice_that_is_not_the_highest() -> None:
    trials = [trial(0.75, 900, embedding=64), trial(0.583, 500, embedding=16)]
    search = replace(SEARCH, tolerance=0.5)
    for table in (build_table(trials, search), for_terminal(build_table(trials, search))):
        assert "Chosen: of the trials whose ACA is within 50 points of the highest the one that keeps the fewest " in (
            " ".join(table.notes)
        )
    assert not any(note.startswith("Chosen") for note in build_table(trials, SEARCH).notes)


def test_the_front_has_what_nothing_else_beats() -> None:
    search = replace(SEARCH, objectives=("aca", "bytes"))
    best, cheap = trial(0.7, 900, rank=1), trial(0.5, 100, rank=2)
    between, beaten, twin = trial(0.6, 500, rank=3), trial(0.55, 600, rank=4), trial(0.6, 500, rank=5)
    trials = [best, cheap, between, beaten, twin, Trial({"rank": 6}, failures={0: "x"})]
    assert front_of(trials, search) == [best, cheap, between, twin]
    table = build_table(trials, search)
    assert table.columns[-1] == "front"
    assert [row[-1] for row in table.rows] == ["yes", "yes", "yes", "", "yes", ""]
    fast = replace(search, objectives=("aca", "seconds", "forgetting"))
    assert front_of([trial(0.5, 1, 0.2, 1.0), trial(0.5, 1, 0.1, 9.0), trial(0.5, 1, 0.2, 9.0)], fast) == [
        trial(0.5, 1, 0.2, 1.0),
        trial(0.5, 1, 0.1, 9.0),
    ]


def test_importances_say_which_option_matters() -> None:
    space: Any = {"embedding": (8, 16, 32), "rank": (1, 2, 3), "lr": (0.1,)}
    search = Search(BASE, space)
    trials = [
        trial(0.5 + 0.01 * rank + 0.1 * number, 1, embedding=embedding, rank=rank, lr=0.1)
        for number, embedding in enumerate(space["embedding"])
        for rank in space["rank"]
    ]
    found = importances_of(trials, search)
    assert found is not None
    assert (list(found.shares), found.trials) == (["embedding", "rank"], 9)
    assert found.shares["embedding"] > 0.8
    assert sum(found.shares.values()) == pytest.approx(1)
    assert importances_of(trials, search) == found
    assert importances_of(trials[:7], search) is None  # too few
    assert importances_of([replace(t, runs=(made(0.5, 1),)) for t in trials], search) is None  # nothing to explain


def test_one_seed_and_one_trial_claim_no_more_than_they_know() -> None:
    notes = build_table([trial(0.5, 10)], SEARCH).notes
    assert "One run per row (n = 1): the spread over seeds is unknown." in notes
    assert not any("too high" in note for note in notes)


def test_the_command_of_the_best_says_all_that_differs_from_the_preset() -> None:
    base = RunConfig(
        *("tiny", "hn", 4),
        preset="printed",
        epochs=1,
        batch_size=8,
        validation=0.25,
        measure_on="validation",
        image_size=16,
        classes_per_experience=2,
        options=usual_options("hn", "printed").replace(curvature=True, views=1),
    )
    chosen = Trial({"mlp": (20, 10), "standardise": False, "hyper_lr": 2e-3})
    assert command_for(chosen, Search(base, {}, (0, 2)), DataPlace(Path("my data"), False)) == (
        "hypertail run tiny --strategy hn-4 --preset printed --seeds 0 2 --epochs 1 --batch-size 8 --image-size 16 "
        "--classes-per-experience 2 --data 'my data' --no-cache "
        "--views 1 --hyper-lr 0.002 --mlp 20 10 --curvature"
    )


DAMAGED = ["", "[]", "{}", '{"a":' * 500 + "1" + "}" * 500, '{"problem": NaN}', "\xff"]


@pytest.mark.parametrize("text", [*DAMAGED, '{"accuracies": [2.0]}', '{"accuracies": "x"}'], ids=range(8))
@pytest.mark.parametrize(("name", "key"), [(FAILURE, "problem"), (PRUNED, "accuracies")])
def test_a_damaged_mark_is_named(name: str, key: str, text: str, tmp_path: Path) -> None:
    """case 20: a kill in the middle of writing used to end every later search in a traceback."""
    config = SEARCH.config({"embedding": 16})
    place = SEARCH.directory(tmp_path, config)
    Begun(config).write(place)
    (place / name).write_text(text, encoding="latin-1")
    with pytest.raises(
        CheckpointError, match=rf"record of a trial that ended .*{name}': required JSON with a key '{key}"
    ):
        find_trials(tmp_path, SEARCH)


def test_a_full_disk_keeps_the_old_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """case 18: trials.json, trials.md and best.json are written whole or not at all."""
    write_record(Found(()), SEARCH, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        write_record(Found(()), replace(SEARCH, tolerance=0.5), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_names_that_are_not_utf8_leave_a_record_that_can_be_read(tmp_path: Path) -> None:
    search = replace(SEARCH, base=replace(BASE, stream="folder:ph\udcf6tos"))
    found = Found((trial(0.5, 100, embedding=16),))
    write_record(found, search, tmp_path, DataPlace(Path("d\udce4ta")))
    assert "--data 'd?ta'" in read_json(tmp_path / "best.json")["command"]
    assert read_json(tmp_path / "trials.json")["base"]["stream"] == "folder:ph?tos"
    assert "folder:ph?tos" in (tmp_path / "trials.md").read_text(encoding="utf-8")
    config = search.config({"embedding": 16})
    mark_failed(search.directory(tmp_path / "trials", config), config, "folder:ph\udcf6tos is not there")
    (failed,) = find_trials(tmp_path / "trials", search)
    assert failed.failures == {0: "folder:ph?tos is not there"}


def test_a_long_name_of_a_directory_is_shortened(tmp_path: Path) -> None:
    values = {name: 0.123456 for name in ("lr", "hyper_lr", "task_lr", "penalty_weight", "damping", "output_weight")}
    values["output_share"] = 0.123456
    name = SEARCH.directory(tmp_path, SEARCH.config(values)).parent.name
    assert len(name) < 150
    assert name != SEARCH.directory(tmp_path, SEARCH.config({**values, "lr": 0.5})).parent.name
    assert json.dumps(name).isascii()
