"""Choosing options: what is run and recorded, how a search goes on, and that test data has no say in it."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from hypertail.errors import ConfigError, HypertailError, MissingExtraError, TrainingError
from hypertail.lab.experiments import trunks
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.directories import CHECKPOINT, FAILURE, LOCK, PRUNED, claimed
from hypertail.lab.experiments.place import Place, stream_of
from hypertail.lab.experiments.precisions import Precisions
from hypertail.lab.experiments.run import execute
from hypertail.lab.records.runfile import RunFile
from hypertail.lab.tuning import running
from hypertail.lab.tuning.plan import Search
from hypertail.lab.tuning.record import Found, command_for
from hypertail.lab.tuning.space import Range
from hypertail.lab.tuning.tune import tune
from hypertail.lab.tuning.workers import JOURNAL
from hypertail.seeds import generator
from hypertail.storage.checkpoint import load_checkpoint
from hypertail.streams import Examples, Stream
from hypertail.training.trainer import Trainer
from support.searches import BASE, PLACE, TWO, record, run, runs_done, tiny
from support.tiny import tiny_stream

DIVERGING = {"hyper_lr": (1e-3, 1e38)}
RATES = {"hyper_lr": (3e-2, 2e-2, 1e-2, 4e-2, 1e-7, 5e-2)}
"""The fifth learns nothing."""


def noise(examples: Examples | None, *names: object) -> Examples:
    """As many random images with random labels."""
    assert examples is not None
    random = generator(9, *names)
    images = torch.randint(256, examples.images.shape, generator=random, dtype=torch.uint8)
    return Examples(images, torch.randint(2, examples.labels.shape, generator=random))


def learned(out: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Every tensor that trunks and trials learned, without accuracies and answers."""
    files = {path.relative_to(out): load_checkpoint(path)[0] for path in sorted(out.rglob("*.safetensors"))}
    return {
        str(path): {name: tensor for name, tensor in tensors.items() if not name.startswith(("accuracy", "answers."))}
        for path, tensors in files.items()
    }


def assert_same(one: dict[str, dict[str, torch.Tensor]], other: dict[str, dict[str, torch.Tensor]]) -> None:
    assert one.keys() == other.keys()
    for path in one:
        assert one[path].keys() == other[path].keys()
        assert all(torch.equal(tensor, other[path][name]) for name, tensor in one[path].items()), path


# --- a whole search ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Found, str]:
    """Two values, two seeds."""
    out = tmp_path_factory.mktemp("tuned")
    found, text = run(out, Search(BASE, TWO, (0, 1)))
    return out, found, text


@pytest.mark.slow
def test_every_trial_is_an_ordinary_run(tuned: tuple[Path, Found, str], tmp_path: Path) -> None:
    out, found, _ = tuned
    for weight, name in ((0.05, "base"), (0.5, "penalty-weight-0.5")):
        config = replace(BASE.with_options(penalty_weight=weight), seed=1)
        kept = RunFile.read(out / "trials" / name / config.run_name / "run.json")
        assert kept.accuracy == execute(config, tmp_path / name, PLACE, stream=tiny).accuracy
        assert kept.command == "hypertail tune ..."
        (trial,) = (t for t in found.trials if t.changes == ({} if name == "base" else {"penalty_weight": 0.5}))
        assert [run.seed for run in trial.runs] == [0, 1]
        assert trial.runs[1] == kept
    assert len(list((out / "trials" / "trunks").iterdir())) == 2  # one for each seed, whatever the trial
    assert {path.name for path in out.iterdir()} == {"trials", "trials.json", "trials.md", "best.json"}


def test_the_record_has_every_trial_best_first(tuned: tuple[Path, Found, str]) -> None:
    out, found, _ = tuned
    content = json.loads((out / "trials.json").read_text())
    assert (content["format"], content["format_version"]) == ("hypertail-trials", 2)
    assert content["base"] == BASE.to_json()
    assert (content["seeds"], content["space"], content["tolerance"]) == ([0, 1], {"penalty_weight": [0.05, 0.5]}, 0.0)
    acas = []
    for trial, kept in zip(content["trials"], found.trials, strict=True):
        assert trial["options"] == {"penalty_weight": kept.changes.get("penalty_weight", 0.05)}
        values = [run["aca"] for run in trial["runs"]]
        assert values == [run.metrics["aca"] for run in kept.runs]
        assert (trial["n"], trial["state"]) == (2, "finished")
        assert trial["aca"]["mean"] == pytest.approx(sum(values) / 2)
        assert trial["aca"]["std"] == pytest.approx(abs(values[0] - values[1]) / math.sqrt(2))
        assert all(run["seconds"] > 0 and run["hypernetwork_parameters"] > 0 for run in trial["runs"])
        acas.append(trial["aca"]["mean"])
    assert acas == sorted(acas, reverse=True)
    best = json.loads((out / "best.json").read_text())
    assert best["options"] == content["trials"][0]["options"]
    assert best["command"] == command_for(found.trials[0], Search(BASE, TWO, (0, 1)))


def test_the_table_shows_forgetting_n_spread_and_what_limits_it(tuned: tuple[Path, Found, str]) -> None:
    text = (tuned[0] / "trials.md").read_text()
    lines = text.splitlines()
    assert lines[0] == "**tiny: HN-4, preset tuned, 1 epochs per experience; on held-out data**"
    assert lines[2] == ("| penalty-weight | ACA % | forgetting % | learning accuracy % | time (s) | bytes kept | n |")
    assert len([line for line in lines[4:6] if " ± " in line and line.endswith("| 2 |")]) == 2
    assert "- Measured on 25% of the training data, held out from training and from the trunk's; test data took" in text
    assert "- Mean ± sample standard deviation over 2 seeds" in text
    assert "- About 12 validation images a run: the standard error of an ACA" in text
    assert "- The highest of several measured ACAs is likely to be too high: report test accuracies." in text
    assert lines[-1].startswith("    hypertail run tiny --strategy hn-4 --preset tuned --seeds 0 1 --epochs 1 ")
    assert "to use it: hypertail run tiny --strategy hn-4" in tuned[2]


@pytest.mark.slow
def test_the_same_search_twice_does_nothing_more_and_the_record_is_made_of_the_directories(
    tuned: tuple[Path, Found, str], tmp_path: Path
) -> None:
    out = tmp_path / "copy"
    shutil.copytree(tuned[0], out)
    times = {path: path.stat().st_mtime_ns for path in (out / "trials").rglob("*")}
    before = {name: (out / name).read_bytes() for name in ("trials.json", "trials.md", "best.json")}
    for name in before:
        (out / name).unlink()
    (out / JOURNAL).write_text("foreign")
    found, text = run(out, Search(BASE, TWO, (0, 1)))
    assert found == replace(
        tuned[1], trials=tuple(replace(t, began=n.began) for t, n in zip(tuned[1].trials, found.trials, strict=True))
    )
    assert runs_done(text) == 0
    assert (
        "2 trials of HN-4, 2 seeds, all experiences; measured on 25% of the training data; 2 of them done before"
        in text
    )
    assert {path: path.stat().st_mtime_ns for path in (out / "trials").rglob("*")} == times
    assert {name: (out / name).read_bytes() for name in before} == before
    # another space adds to it, and another seed is run for what is tried now
    more, text = run(out, Search(BASE, {"embedding": (8,)}, (0, 1)))
    assert (len(more.trials), runs_done(text)) == (3, 2)
    assert "| embedding | penalty-weight |" in (out / "trials.md").read_text()
    _, text = run(out, Search(BASE, TWO, (0, 1, 2)))
    assert runs_done(text) == 6 - 4 + 4  # those that are finished are read again
    assert text.count("finished before") == 4


@pytest.mark.slow
@pytest.mark.parametrize("how", ["grid", "tpe"])
def test_an_interrupted_search_goes_on(how: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space: Any = TWO if how == "grid" else {"hyper_lr": Range(1e-3, 1e-1)}
    search = Search(BASE, space, how=how, trials=2)
    told = running.TrialListener.progress

    def stop_in_the_last(self: Any, done: int, total: int, text: str) -> None:
        told(self, done, total, text)
        if text.startswith("experience 3/") and "trial 2/2" in self._title:
            raise KeyboardInterrupt

    run(tmp_path / "whole", search)
    monkeypatch.setattr(running.TrialListener, "progress", stop_in_the_last)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", search)
    assert len(json.loads((tmp_path / "parts" / "trials.json").read_text())["trials"]) == 1
    assert not list(tmp_path.rglob(LOCK))
    monkeypatch.undo()
    _, text = run(tmp_path / "parts", search)
    assert runs_done(text) == 1
    assert record(tmp_path / "parts") == record(tmp_path / "whole")


@pytest.mark.slow
def test_a_trial_that_diverges_is_recorded_and_the_search_goes_on(tmp_path: Path) -> None:
    search = Search(BASE, DIVERGING, (0, 1))
    found, text = run(tmp_path, search)
    good, bad = found.trials
    assert (len(good.runs), dict(good.failures), bad.runs) == (2, {}, ())
    assert list(bad.failures) == [0]  # with one seed; the other is not tried
    assert "trial 2/2, hyper-lr 1e+38, seed 0: failed: " in text
    content = json.loads((tmp_path / "trials.json").read_text())["trials"][1]
    assert (content["aca"], content["state"]) == (None, "failed")
    assert content["failures"][0]["seed"] == 0
    assert "Lower the learning rate" in content["failures"][0]["problem"]
    table = (tmp_path / "trials.md").read_text()
    assert "| 1e+38 | – | – | – | – | – | failed |" in table
    assert "- Failed: hyper-lr 1e+38, seed 0: " in table
    again, text = run(tmp_path, search)
    assert again.trials == found.trials
    assert runs_done(text) == 0


def test_nothing_but_failures(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError,
        match=r"choice of hyper-parameters: required a trial that finished with every seed; found 1 that did not. See ",
    ):
        run(tmp_path, Search(BASE, {"hyper_lr": (1e38,)}))
    assert not (tmp_path / "best.json").exists()
    assert len(json.loads((tmp_path / "trials.json").read_text())["trials"]) == 1
    assert (tmp_path / "trials" / "hyper-lr-1e+38" / BASE.run_name / FAILURE).is_file()


# --- giving up ---------------------------------------------------------------------------------------------------


def slow(monkeypatch: pytest.MonkeyPatch, worse: float) -> None:
    """Measured accuracies of the trial at that learning rate are nought."""
    measure = Trainer._accuracies

    def measured(self: Trainer, answers: list[torch.Tensor]) -> torch.Tensor:
        accuracies = measure(self, answers)
        rate = getattr(self.strategy, "optimisation", None)
        return accuracies * 0 if rate is not None and rate.lr == worse else accuracies * 0.5 + 0.5

    monkeypatch.setattr(Trainer, "_accuracies", measured)


@pytest.mark.slow
def test_a_bad_trial_ends_after_an_experience_and_goes_on_where_nothing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(monkeypatch, 1e-7)
    search = Search(BASE, RATES, prune="experiences")
    stream = tiny_stream(4, per_class=6, validation=True)
    found, text = run(tmp_path / "pruned", search, stream=stream)
    assert "trial 5/6, hyper-lr 1e-07, seed 0: given up after 2 of 4 experiences, ACA 0.0 % so far" in text
    bad = next(trial for trial in found.trials if trial.changes["hyper_lr"] == 1e-7)
    assert (bad.state(search), bad.runs, dict(bad.pruned)) == ("pruned", (), {0: (0.0, 0.0)})
    config = search.config({"hyper_lr": 1e-7})
    place = search.directory(tmp_path / "pruned" / "trials", config)
    assert {path.name for path in place.iterdir()} - {"checkpoint.previous.safetensors"} == {
        "config.json",
        CHECKPOINT,
        PRUNED,
    }
    assert load_checkpoint(place / CHECKPOINT)[1]["learned"] == 2
    assert re.search(r"^\| 1e-07 \| –.*\| pruned \|$", (tmp_path / "pruned" / "trials.md").read_text(), re.MULTILINE)
    assert "Given up: hyper-lr 1e-07, seed 0, after 2 experiences: ACA so far 0.0 %." in (
        (tmp_path / "pruned" / "trials.md").read_text()
    )
    # the same again does nothing, from the directories alone
    before = record(tmp_path / "pruned")
    (tmp_path / "pruned" / "trials.json").unlink()
    assert runs_done(run(tmp_path / "pruned", search, stream=stream)[1]) == 0
    assert record(tmp_path / "pruned") == before
    # and goes on, to the same end as if it had never stopped
    whole = replace(search, prune="none")
    _, text = run(tmp_path / "pruned", whole, stream=stream)
    assert re.search(r"^trial ./6, hyper-lr 1e-07, seed 0: validation ACA 0.0 %", text, re.MULTILINE)
    assert not (place / PRUNED).exists()
    run(tmp_path / "whole", whole, stream=stream)
    assert record(tmp_path / "pruned") == record(tmp_path / "whole")


@pytest.mark.slow
def test_a_bad_trial_ends_after_a_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow(monkeypatch, 1e-7)
    search = Search(BASE, RATES, (0, 1), prune="seeds")
    found, text = run(tmp_path, search)
    assert "trial 5/6, hyper-lr 1e-07, seed 0: given up after this seed\n" in text
    bad = next(trial for trial in found.trials if trial.changes["hyper_lr"] == 1e-7)
    assert (bad.state(search), [run.seed for run in bad.runs], dict(bad.pruned)) == ("pruned", [0], {0: ()})
    before = record(tmp_path)
    assert runs_done(run(tmp_path, search)[1]) == 0
    assert record(tmp_path) == before


# --- test and validation data ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_test_data_has_no_say(tmp_path: Path) -> None:
    garbage = replace(
        tiny(), experiences=tuple(replace(e, test=noise(e.test, "test", e.task)) for e in tiny().experiences)
    )
    for stream, place in ((tiny(), "true"), (garbage, "garbage")):
        run(tmp_path / place, Search(BASE, TWO), stream=stream)
    assert record(tmp_path / "garbage") == record(tmp_path / "true")
    assert (tmp_path / "garbage" / "best.json").is_file()
    assert_same(learned(tmp_path / "garbage"), learned(tmp_path / "true"))
    # the same garbage would be seen, were it where accuracies are measured
    seen = replace(
        tiny(),
        experiences=tuple(replace(e, validation=noise(e.validation, "test", e.task)) for e in tiny().experiences),
    )
    run(tmp_path / "seen", Search(BASE, TWO), stream=seen)
    assert record(tmp_path / "seen") != record(tmp_path / "true")


@pytest.mark.slow
def test_nothing_is_learned_from_validation_images_the_trunk_included(tmp_path: Path) -> None:
    other = replace(
        tiny(),
        experiences=tuple(replace(e, validation=noise(e.validation, "validation", e.task)) for e in tiny().experiences),
    )
    for stream, place in ((tiny(), "true"), (other, "other")):
        run(tmp_path / place, Search(BASE, TWO), stream=stream)
    true = learned(tmp_path / "true")
    assert any(path.startswith("trials/trunks/") for path in true)
    assert_same(learned(tmp_path / "other"), true)


@pytest.mark.slow
def test_the_trunk_of_a_real_stream_is_trained_without_the_images_held_out(tmp_path: Path) -> None:
    given: list[Stream] = []

    def trainer(stream: Stream, *args: Any, **options: Any) -> Trainer:
        given.append(stream)
        return Trainer(stream, *args, **options)

    config = replace(BASE, stream="digits", image_size=8, experiences=1, batch_size=64)
    stream = stream_of(config)
    trunks.trained_trunk(config, stream, tmp_path, torch.device("cpu"), trainer=trainer)
    (first,) = given[0]
    everything = stream_of(replace(config, validation=0.0, measure_on="test"))[0].train
    held = stream[0].validation
    assert held is not None
    assert len(first.train) + len(held) == len(everything)
    trained, kept = ({image.numpy().tobytes() for image in part.images} for part in (first.train, held))
    assert not trained & kept


@pytest.mark.slow
def test_the_choice_is_reported_on_test_data_of_another_stream(tmp_path: Path) -> None:
    asked: list[RunConfig] = []

    def load(config: RunConfig) -> Stream:
        asked.append(config)
        return tiny_stream(2, per_class=6, validation=config.validation > 0, seed=len(config.stream))

    search = Search(replace(BASE, image_size=8, images_per_class=4), TWO)
    for _ in range(2):  # the second time from the directories
        found = tune(search, tmp_path, Console(file=StringIO()), PLACE, report_on="other", load=load)
    reported = [config for config in asked if config.stream == "other"]
    assert {(c.measure_on, c.validation, c.experiences, c.image_size, c.images_per_class) for c in reported} == {
        ("test", 0.0, None, None, None)
    }
    (best,) = found.report
    content = json.loads((tmp_path / "trials.json").read_text())
    assert content["report"] == json.loads((tmp_path / "best.json").read_text())["report"]
    assert (content["report"]["stream"], content["report"]["runs"][0]["aca"]) == ("other", best.metrics["aca"])
    assert best.config["method"]["penalty_weight"] == content["trials"][0]["options"]["penalty_weight"]
    assert len(list((tmp_path / "report").glob("*/*/run.json"))) == 1
    assert "measured on test data" in (tmp_path / "trials.md").read_text().partition("The same options on")[2]


# --- what cannot be searched -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_precision_for_all_trials_that_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """case 1: a search that another machine began goes on in its precision."""
    auto = replace(PLACE, speed="auto")
    monkeypatch.setattr("hypertail.lab.experiments.run.precisions_of", lambda *_: Precisions("mixed", "mixed"))
    found, _ = run(tmp_path, Search(BASE, TWO), place=auto)
    assert {run.extra["precision"] for trial in found.trials for run in trial.runs} == {"mixed"}
    monkeypatch.setattr("hypertail.lab.experiments.run.precisions_of", lambda *_: pytest.fail("asked again"))
    more, _ = run(tmp_path, Search(BASE, {"embedding": (8,)}), place=auto)
    assert len(more.trials) == 3
    assert {run.extra["precision"] for trial in more.trials for run in trial.runs} == {"mixed"}
    run(tmp_path, Search(BASE, {"embedding": (4,)}))
    assert "Some trials were trained at full precision and some at mixed" in (tmp_path / "trials.md").read_text()


def test_trials_on_other_data_are_refused(tuned: tuple[Path, Found, str]) -> None:
    """case 4: the table would set results on different images side by side."""
    other = tiny_stream(3, per_class=6, validation=True, seed=1)
    with pytest.raises(ConfigError, match=r"data of trial .*: required the data that it began with, to reuse"):
        run(tuned[0], Search(BASE, TWO, (0, 1)), stream=other)


@pytest.mark.parametrize(
    ("base", "required", "found"),
    [
        (replace(BASE, batch_size=4), "batch-size 4", "batch-size 8"),
        (replace(BASE, experiences=2), "experiences 2", "experiences none"),
        (BASE.with_options(embedding=8), "embedding 8", "embedding 32"),
        (replace(BASE, strategy="separate", options=None), "strategy separate", "strategy hn"),
    ],
)
def test_a_folder_of_another_search(base: RunConfig, required: str, found: str, tuned: tuple[Path, Found, str]) -> None:
    with pytest.raises(
        ConfigError, match=rf"trial .*: required {required}, as now, to go on with it; found {found}. Use another --out"
    ):
        run(tuned[0], Search(base, {"lr": (0.1, 0.2)}, (0, 1)))


def test_a_folder_in_which_another_search_works(tuned: tuple[Path, Found, str]) -> None:
    with claimed(tuned[0]), pytest.raises(ConfigError, match="required one that nothing works in; found process"):
        run(tuned[0], Search(BASE, TWO, (0, 1)))


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (Search(replace(BASE, measure_on="test"), TWO), r"data to choose .*required validation data; found test data"),
        (Search(BASE, TWO, ()), "option --seeds: required at least one value; found none. Name one after --seeds"),
        (Search(BASE, TWO, tolerance=-0.01), "tolerance of the choice: required 0 to 100 points of ACA; found -1. Use"),
        (Search(BASE, {"penalty_weight": (0.1, -1.0)}), "option --penalty-weight: required 0 or more; found -1"),
        (Search(BASE, TWO, trials=3), "option --trials of a grid: required all 2 combinations of --try; found 3"),
        (Search(BASE, TWO, how="random", trials=0), "option --trials: required 1 or more; found 0"),
        (Search(BASE, TWO, how="halving"), "unknown value of --search 'halving'"),  # type: ignore[arg-type]
        (Search(BASE, TWO, prune="seeds"), "option --prune seeds: required several seeds"),
        (Search(BASE, TWO, objectives=("aca", "size")), "unknown objective 'size'"),
        (Search(BASE, TWO, objectives=("bytes",)), "option --objective: required aca, by which the choice is made"),
        (
            Search(BASE, TWO, objectives=("aca", "bytes"), prune="experiences"),
            "option --prune experiences: required one objective",
        ),
    ],
)
def test_what_cannot_be_searched(search: Search, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        run(tmp_path / "out", search)
    assert not (tmp_path / "out").exists()


def test_output_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        ConfigError, match=r"output folder .*file: required a folder, or nothing yet; found a file. Use"
    ):
        run(tmp_path / "file", Search(BASE, TWO))


def test_without_optuna(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "optuna"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if not (Path(folder) / "optuna").exists()])
    with pytest.raises(MissingExtraError) as error:
        run(tmp_path / "out", Search(BASE, TWO))
    assert error.value.hint == "pip install 'hypertail[tune]'"
    assert not (tmp_path / "out").exists()


# --- several processes -------------------------------------------------------------------------------------------


def digits(**options: Any) -> RunConfig:
    """Two short tasks of digits."""
    return replace(BASE, stream="digits", image_size=8, experiences=2, images_per_class=12, **options)


@pytest.mark.slow
def test_processes_end_with_the_same_trials_as_one_also_if_one_was_stopped(tmp_path: Path) -> None:
    search, place = Search(digits(), {**TWO, **DIVERGING}), Place(threads=1)
    trial = search.directory(tmp_path / "two" / "trials", search.config({"penalty_weight": 0.5, "hyper_lr": 1e-3}))
    with claimed(trial), pytest.raises(HypertailError, match=r"run directory .*: required one that nothing works in"):
        tune(search, tmp_path / "two", Console(file=StringIO()), place, jobs=2)
    assert not list((tmp_path / "two").glob(LOCK))
    # what was begun goes on
    written = StringIO()
    found = tune(search, tmp_path / "two", Console(file=written, width=200), place, jobs=2)
    tune(search, tmp_path / "one", Console(file=StringIO()), place)
    two, one = record(tmp_path / "two"), record(tmp_path / "one")
    for trials in (two["trials"], one["trials"]):
        for failure in (failure for trial in trials for failure in trial["failures"]):
            # a process that is stopped looks at its state, and finds there what another finds in its next loss
            assert re.search("required (a finite loss|finite numbers)", failure.pop("problem"))
    assert two == one
    assert sorted(trial.state(search) for trial in found.trials) == ["failed", "failed", "finished", "finished"]
    assert 1 <= runs_done(written.getvalue()) <= 4
    assert not list(tmp_path.rglob(LOCK))
