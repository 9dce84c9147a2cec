"""Choosing hyper-parameters: what is tried, what is recorded, and that test data has no say in it."""

from __future__ import annotations

import errno
import io
import json
import math
import os
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypertail.recipes.method import Method
from rich.console import Console

from hypertail.errors import CheckpointError, ConfigError, TrainingError
from hypertail.lab.experiments import trunks
from hypertail.lab.experiments.begun import Begun
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.directories import FAILURE
from hypertail.lab.experiments.place import DataPlace, stream_of
from hypertail.lab.experiments.precisions import Precisions
from hypertail.lab.experiments.run import execute
from hypertail.lab.records.runfile import RunFile
from hypertail.lab.tuning import runner as trialrunner
from hypertail.lab.tuning.searchspace import default_space
from hypertail.lab.tuning.trials import Study, Trial, best_of, build_table, command_for, find_trials, write_record
from hypertail.lab.tuning.tune import check_space, plan, rungs, tune
from hypertail.recipes.presets import PRINTED
from hypertail.seeds import generator
from hypertail.storage.checkpoint import load_checkpoint
from hypertail.streams import Examples, Stream
from hypertail.streams import stream as streams
from hypertail.training import pretrain
from hypertail.training.trainer import Trainer
from support.tiny import tiny_stream

SHORT = Method(trunk_epochs=1, penalty_weight=0.05)
BASE = RunConfig(
    "tiny", "hn", 4, epochs=1, batch_size=8, validation=0.25, measure_on="validation", views=1, method=SHORT
)
TWO = {"penalty_weight": (0.05, 0.5)}
DIVERGING = {"hyper_lr": (1e-3, 1e38)}


@lru_cache
def tiny(tasks: int = 3) -> Stream:
    return tiny_stream(tasks, per_class=6, validation=True)


def search(out: Path, space: Any, base: RunConfig = BASE, *, stream: Stream | None = None, **options: Any) -> Any:
    """Tune quietly on the tiny stream: the trials, and what was printed."""
    written = io.StringIO()
    console = Console(file=written, width=200, color_system=None)
    found = tune(
        base,
        space,
        out,
        console,
        streams=lambda seed: stream or tiny(),
        **{"cache_bytes": 1 << 24, "speed": "full", **options},
    )
    return found, written.getvalue()


def noise(examples: Examples | None, *names: object) -> Examples:
    """As many random images with random labels."""
    assert examples is not None
    random = generator(9, *names)
    images = torch.randint(256, examples.images.shape, generator=random, dtype=torch.uint8)
    return Examples(images, torch.randint(2, examples.labels.shape, generator=random))


def record(out: Path) -> dict[str, Any]:
    """`trials.json` without what differs from one time to the next."""
    content: dict[str, Any] = json.loads((out / "trials.json").read_text())
    for trial in content["trials"]:
        for part in (trial, *trial["runs"]):
            del part["seconds"]
    return content


def learned(out: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Every tensor that trunks and trials learned, without the accuracies."""
    files = {path.relative_to(out): load_checkpoint(path)[0] for path in sorted(out.rglob("*.safetensors"))}
    return {
        str(path): {name: tensor for name, tensor in tensors.items() if name != "accuracy"}
        for path, tensors in files.items()
    }


def assert_same(one: dict[str, dict[str, torch.Tensor]], other: dict[str, dict[str, torch.Tensor]]) -> None:
    assert one.keys() == other.keys()
    for path in one:
        assert one[path].keys() == other[path].keys()
        assert all(torch.equal(tensor, other[path][name]) for name, tensor in one[path].items()), path


# --- what is tried -----------------------------------------------------------------------------------------------


def test_plan() -> None:
    space = {"lr": (1.0, 2.0, 3.0)}
    assert len(plan(space, "grid")) == len(plan(space, "halving")) == len(plan(space, "random")) == 3
    assert len(plan(space, "random", 2)) == len(plan(space, "halving", 2)) == 2
    with pytest.raises(
        ConfigError, match=r"option --trials of a grid: required all 3 combinations of --try; found 2. Leave"
    ):
        plan(space, "grid", 2)
    with pytest.raises(ConfigError, match=r"option --trials: required 1 or more; found 0. Give a larger number."):
        plan(space, "random", 0)
    with pytest.raises(ConfigError, match=r"option --try: required at least one switch with values; found none. Write"):
        plan({}, "grid")


def test_rungs_double_and_end_with_the_whole_stream() -> None:
    for trials in range(1, 40):
        for experiences in range(1, 25):
            lengths = rungs(trials, experiences)
            assert lengths[-1] == experiences
            assert lengths == sorted(set(lengths))
            if len(lengths) > 1:
                assert lengths[0] >= 2
                assert trials / 2 ** (len(lengths) - 1) >= 2
    assert rungs(8, 20) == [5, 10, 20]


def test_a_switch_is_fixed_or_tried() -> None:
    with pytest.raises(
        ConfigError,
        match=r"switch rank: required either a fixed value or values to try; found --rank 5 and --try rank=.... Leave",
    ):
        check_space({"rank": (1, 2)}, replace(BASE, method=Method(rank=5)))
    check_space({"rank": (1, 2)}, BASE)


def test_a_switch_without_effect_is_not_tried() -> None:
    with pytest.raises(
        ConfigError,
        match=r"switch penalty-weight in --try: required one that decides what LR-3 learns; found one that concerns hn "
        r"alone. Leave it out, or use another --strategy.",
    ):
        check_space(TWO, replace(BASE, strategy="lr", depth=3))
    check_space(default_space(replace(BASE, strategy="lr")), replace(BASE, strategy="lr"))


def test_one_precision_for_all_trials_that_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """case 1: a search that another machine began goes on in its precision."""
    monkeypatch.setattr("hypertail.lab.experiments.run.precisions_of", lambda *_: Precisions("mixed", "mixed"))
    found, _ = search(tmp_path, TWO, speed="auto")
    assert {run.extra["precision"] for trial in found for run in trial.runs} == {"mixed"}
    monkeypatch.setattr("hypertail.lab.experiments.run.precisions_of", lambda *_: pytest.fail("asked again"))
    more, _ = search(tmp_path, {"embedding": (8,)}, speed="auto")
    assert len(more) == 3
    assert {run.extra["precision"] for trial in more for run in trial.runs} == {"mixed"}
    search(tmp_path, {"embedding": (4,)}, speed="full")
    assert "Some trials were trained at full precision and some at mixed" in (tmp_path / "trials.md").read_text()


def test_trials_on_other_data_are_refused(tmp_path: Path) -> None:
    """case 4: the table would set results on different images side by side."""
    search(tmp_path, TWO)
    other = tiny_stream(3, per_class=6, validation=True, seed=1)
    with pytest.raises(ConfigError, match=r"data of run directory .*: required the data that it began with, to reuse"):
        search(tmp_path, TWO, stream=other)


def test_the_digest_of_the_data_is_counted_once_for_all_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """case 3: at two lengths of a stream, four trials."""
    counted: list[int] = []
    digest = streams.experiences_digest
    monkeypatch.setattr(streams, "experiences_digest", lambda given: (counted.append(len(given)), digest(given))[1])
    search(tmp_path, {"hyper_lr": (1e-3, 2e-3, 3e-3, 4e-3)}, stream=tiny_stream(4, per_class=6, validation=True),
           search="halving")  # fmt: skip
    assert counted == [2, 4]


# --- a whole search ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Trial], str]:
    """Two values, two seeds."""
    out = tmp_path_factory.mktemp("tuned")
    found, text = search(out, TWO, seeds=(0, 1), line="hypertail tune ...")
    return out, found, text


def test_every_trial_is_an_ordinary_run(tuned: tuple[Path, list[Trial], str], tmp_path: Path) -> None:
    out, found, _ = tuned
    for weight, name in ((0.05, "base"), (0.5, "penalty-weight-0.5")):
        config = replace(BASE, seed=1, method=replace(SHORT, penalty_weight=weight))
        kept = RunFile.read(out / "trials" / name / config.run_name / "run.json")
        assert kept.accuracy == execute(config, tmp_path / name, stream=tiny, speed="full").accuracy
        assert kept.command == "hypertail tune ..."
        (trial,) = (trial for trial in found if trial.changes == ({} if name == "base" else {"penalty_weight": 0.5}))
        assert [run.seed for run in trial.runs] == [0, 1]
        assert trial.runs[1] == kept
    assert len(list((out / "trials" / "trunks").iterdir())) == 2  # one for each seed, whatever the trial


def test_the_record_has_every_trial_best_first(tuned: tuple[Path, list[Trial], str]) -> None:
    out, found, _ = tuned
    content = json.loads((out / "trials.json").read_text())
    assert (content["format"], content["format_version"]) == ("hypertail-trials", 1)
    assert content["base"] == BASE.to_json()
    assert (content["seeds"], content["tried"], content["tolerance"]) == ([0, 1], ["penalty_weight"], 0.0)
    acas = []
    for trial, kept in zip(content["trials"], found, strict=True):
        assert trial["switches"] == {"penalty_weight": kept.changes.get("penalty_weight", 0.05)}
        values = [run["aca"] for run in trial["runs"]]
        assert values == [run.metrics["aca"] for run in kept.runs]
        assert trial["n"] == 2
        assert trial["aca"]["mean"] == pytest.approx(sum(values) / 2)
        assert trial["aca"]["std"] == pytest.approx(abs(values[0] - values[1]) / math.sqrt(2))
        assert all(run["seconds"] > 0 and run["hypernetwork_parameters"] > 0 for run in trial["runs"])
        assert {"forgetting", "learning_accuracy"} < trial.keys()
        acas.append(trial["aca"]["mean"])
    assert acas == sorted(acas, reverse=True)
    best = json.loads((out / "best.json").read_text())
    assert best["switches"] == content["trials"][0]["switches"]
    assert best["command"] == command_for(found[0], Study(BASE, (0, 1), ("penalty_weight",)))


def test_the_table_shows_forgetting_n_spread_and_what_limits_it(tuned: tuple[Path, list[Trial], str]) -> None:
    text = (tuned[0] / "trials.md").read_text()
    lines = text.splitlines()
    assert lines[0] == "**tiny: HN-4, preset tuned, 1 epochs per experience**"
    assert lines[2] == (
        "| penalty-weight | validation ACA % | forgetting % | learning accuracy % | seconds | "
        "hypernetwork parameters | n |"
    )
    assert len([line for line in lines[4:6] if " ± " in line and line.endswith("| 2 |")]) == 2
    assert "- Measured on 25% of the training data, held out from training and from the trunk's; test data took" in text
    assert "- Mean ± sample standard deviation over 2 seeds" in text
    assert "- About 12 validation images a run: the standard error of an ACA" in text
    assert "- The highest of several measured ACAs is likely to be too high: report test accuracies." in text
    assert lines[-1].startswith("    hypertail run tiny --strategy hn-4 --preset tuned --seeds 0 1 --epochs 1 ")
    assert "to use it: hypertail run tiny --strategy hn-4" in tuned[2]


def test_finished_trials_are_not_run_again_and_stay_in_the_record(
    tuned: tuple[Path, list[Trial], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, found, _ = tuned
    again, text = search(out, TWO, seeds=(0, 1))
    assert again == found
    assert text.count("finished before") == 4
    called: list[RunConfig] = []

    def counted(config: RunConfig, *args: Any, **options: Any) -> RunFile:
        called.append(config)
        return execute(config, *args, **options)

    monkeypatch.setattr(trialrunner, "execute", counted)
    more, _ = search(out, {"embedding": (8,)}, seeds=(0, 1))
    assert [config.method.embedding for config in called] == [8, 8]
    assert len(more) == 3
    assert "| embedding | penalty-weight |" in (out / "trials.md").read_text()


def test_an_interrupted_search_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0

    def interrupted(config: RunConfig, *args: Any, **options: Any) -> RunFile:
        nonlocal count
        count += 1
        if count == 2:
            options["progress"] = stop_in_the_last
        return execute(config, *args, **options)

    def stop_in_the_last(done: int, total: int, text: str) -> None:
        if text.startswith("experience 3/"):
            raise KeyboardInterrupt

    whole, _ = search(tmp_path / "whole", TWO)
    monkeypatch.setattr(trialrunner, "execute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "parts", TWO)
    assert len(json.loads((tmp_path / "parts" / "trials.json").read_text())["trials"]) == 1
    monkeypatch.undo()
    _, text = search(tmp_path / "parts", TWO)
    assert text.count("finished before") == 1
    assert record(tmp_path / "parts") == record(tmp_path / "whole")
    assert len(whole) == 2


def test_a_trial_that_diverges_is_recorded_and_the_search_goes_on(tmp_path: Path) -> None:
    found, text = search(tmp_path, DIVERGING, seeds=(0, 1))
    good, bad = found
    assert (len(good.runs), dict(good.failures), bad.runs) == (2, {}, ())
    assert list(bad.failures) == [0]  # with one seed; the other is not tried
    assert "trial 2/2, hyper-lr 1e+38, seed 0: failed: " in text
    content = json.loads((tmp_path / "trials.json").read_text())["trials"][1]
    assert content["aca"] is None
    assert content["failures"][0]["seed"] == 0
    assert "Lower the learning rate" in content["failures"][0]["problem"]
    table = (tmp_path / "trials.md").read_text()
    assert "| 1e+38 | – | – | – | – | – | failed |" in table
    assert "- Failed: hyper-lr 1e+38, seed 0: " in table
    again, text = search(tmp_path, DIVERGING, seeds=(0, 1))
    assert again == found
    assert "failed: " not in text.partition("HN-4, preset")[0]  # nor run again


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"a":' * 500 + "1" + "}" * 500, '{"problem": NaN}', "\xff"], ids=range(6)
)
def test_a_damaged_record_of_a_failure_is_named(text: str, tmp_path: Path) -> None:
    """case 20: a kill in the middle of writing used to end every later search in a traceback."""
    config = replace(BASE, method=replace(SHORT, hyper_lr=1.0))
    Begun(config).write(tmp_path / "trial")
    (tmp_path / "trial" / FAILURE).write_text(text, encoding="latin-1")
    with pytest.raises(
        CheckpointError, match=r"record of a failed trial .*failure\.json': required JSON with a key 'pr"
    ):
        find_trials(tmp_path, Study(BASE, (0,), ("hyper_lr",)))


def test_a_full_disk_keeps_the_old_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """case 18: trials.json, trials.md and best.json are written whole or not at all."""
    study = Study(BASE, (0,), ("hyper_lr",))
    write_record([], study, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        write_record([], replace(study, tolerance=0.5), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_nothing_but_failures(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError,
        match=r"choice of hyper-parameters: required a trial that finished with every seed; found 1 that failed. See ",
    ):
        search(tmp_path, {"hyper_lr": (1e38,)})
    assert not (tmp_path / "best.json").exists()
    assert len(json.loads((tmp_path / "trials.json").read_text())["trials"]) == 1


def test_halving_gives_the_whole_stream_to_the_better_half(tmp_path: Path) -> None:
    stream = tiny(4)
    found, text = search(tmp_path, {"rank": (4, 8), "hyper_lr": (1e-3, 1e-2)}, stream=stream, search="halving")
    assert "4 trials of HN-4, seed 0, the first 2 experiences; measured on 25% of the training data\n" in text
    assert "2 trials of HN-4, seed 0, all experiences; measured on 25% of the training data\n" in text
    whole, short = ([trial for trial in found if trial.experiences == length] for length in (None, 2))
    assert (len(whole), len(short)) == (2, 4)
    assert found == [*whole, *short]
    assert all(len(trial.runs[0].tasks) == (2 if trial in short else 4) for trial in found)
    # the two that went on are the two that did best on two experiences
    assert [trial.changes for trial in short[:2]] in ([t.changes for t in whole], [t.changes for t in reversed(whole)])
    table = (tmp_path / "trials.md").read_text()
    assert "| rank | hyper-lr | experiences |" in table
    assert "ACAs of different lengths do not compare" in table
    assert json.loads((tmp_path / "best.json").read_text())["switches"] == {
        name: whole[0].changes.get(name, getattr(SHORT, name)) for name in ("rank", "hyper_lr")
    }


# --- test and validation data ------------------------------------------------------------------------------------


def test_test_data_has_no_say(tmp_path: Path) -> None:
    garbage = replace(
        tiny(), experiences=tuple(replace(e, test=noise(e.test, "test", e.task)) for e in tiny().experiences)
    )
    for stream, place in ((tiny(), "true"), (garbage, "garbage")):
        search(tmp_path / place, TWO, stream=stream)
    assert record(tmp_path / "garbage") == record(tmp_path / "true")
    assert (tmp_path / "garbage" / "best.json").is_file()
    assert_same(learned(tmp_path / "garbage"), learned(tmp_path / "true"))
    # the same garbage would be seen, were it where accuracies are measured
    seen = replace(
        tiny(),
        experiences=tuple(replace(e, validation=noise(e.validation, "test", e.task)) for e in tiny().experiences),
    )
    search(tmp_path / "seen", TWO, stream=seen)
    assert record(tmp_path / "seen") != record(tmp_path / "true")


def test_nothing_is_learned_from_validation_images_the_trunk_included(tmp_path: Path) -> None:
    other = replace(
        tiny(),
        experiences=tuple(replace(e, validation=noise(e.validation, "validation", e.task)) for e in tiny().experiences),
    )
    for stream, place in ((tiny(), "true"), (other, "other")):
        search(tmp_path / place, TWO, stream=stream)
    true = learned(tmp_path / "true")
    assert any(path.startswith("trials/trunks/") for path in true)
    assert_same(learned(tmp_path / "other"), true)


def test_the_trunk_of_a_real_stream_is_trained_without_the_images_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Stream] = []

    def trainer(stream: Stream, *args: Any, **options: Any) -> Trainer:
        given.append(stream)
        return Trainer(stream, *args, **options)

    monkeypatch.setattr(pretrain, "Trainer", trainer)
    config = replace(BASE, stream="digits", image_size=8, experiences=1, batch_size=64)
    stream = stream_of(config)
    trunks.trained_trunk(config, stream, tmp_path, torch.device("cpu"))
    (first,) = given[0]
    everything = stream_of(replace(config, validation=0.0, measure_on="test"))[0].train
    held = stream[0].validation
    assert held is not None
    assert len(first.train) + len(held) == len(everything)
    trained, kept = ({image.numpy().tobytes() for image in part.images} for part in (first.train, held))
    assert not trained & kept


# --- choice ------------------------------------------------------------------------------------------------------


def trial(example: RunFile, aca: float, size: int, changes: dict[str, Any], *, lost: float = 0.0) -> Trial:
    """A trial of two experiences with these figures."""
    accuracy = ((aca + lost, None), (aca, aca))
    run = replace(example, accuracy=accuracy, hypernetwork_parameters=size, tasks=example.tasks[:2],
                  seconds_per_experience=example.seconds_per_experience[:2],
                  bytes_per_experience=example.bytes_per_experience[:2])  # fmt: skip
    return Trial(changes, None, (run,), {})


def test_the_best_has_the_highest_aca_then_the_least_forgetting_then_the_smallest_size(
    tuned: tuple[Path, list[Trial], str],
) -> None:
    example = tuned[1][0].runs[0]
    study = Study(BASE, (0,), ("embedding",))
    large, small = trial(example, 0.62, 900, {"embedding": 64}), trial(example, 0.61, 500, {"embedding": 16})
    assert best_of([small, large], study) is large
    # Appendix F: the smallest that does about as well
    assert best_of([small, large], replace(study, tolerance=0.01)) is small
    assert best_of([small, large], replace(study, tolerance=0.005)) is large
    forgets = trial(example, 0.62, 100, {"embedding": 8}, lost=0.1)
    assert best_of([forgets, large], study) is large
    smaller = trial(example, 0.62, 800, {"embedding": 40})
    assert best_of([large, smaller], study) is smaller
    unfinished = replace(study, seeds=(0, 1))
    assert best_of([small, large], unfinished) is None
    assert best_of([replace(large, experiences=1), replace(large, failures={0: "diverged"})], study) is None


def test_one_seed_and_one_trial_claim_no_more_than_they_know(tuned: tuple[Path, list[Trial], str]) -> None:
    only = trial(tuned[1][0].runs[0], 0.5, 10, {})
    notes = build_table([only], Study(BASE, (0,), ("rank",))).notes
    assert "One run per row (n = 1): the spread over seeds is unknown." in notes
    assert not any("too high" in note for note in notes)


def test_the_command_of_the_best_says_all_that_differs_from_the_preset() -> None:
    base = replace(
        BASE, image_size=16, classes_per_experience=2, preset="printed", method=replace(PRINTED, curvature=True)
    )
    chosen = Trial({"mlp": (20, 10), "standardise": True, "hyper_lr": 1e-3}, None, (), {})
    assert command_for(chosen, Study(base, (0, 2), ("mlp",)), DataPlace(Path("my data"), False)) == (
        "hypertail run tiny --strategy hn-4 --preset printed --seeds 0 2 --epochs 1 --batch-size 8 --image-size 16 "
        "--classes-per-experience 2 --views 1 --data 'my data' --no-cache "
        "--hyper-lr 0.001 --standardise --mlp 20 10 --curvature"
    )


# --- what cannot be searched -------------------------------------------------------------------------------------


def test_other_options_in_the_same_folder(tuned: tuple[Path, list[Trial], str]) -> None:
    out, found, _ = tuned
    with pytest.raises(
        ConfigError,
        match=r"trial .*trials/base/tiny-hn-4-tuned-e1-seed0: required batch-size 4, as now, to go on with it; "
        r"found batch-size 8. Use another --out, or the same options as before.",
    ):
        search(out, TWO, replace(BASE, batch_size=4))
    assert find_trials(out / "trials", Study(replace(BASE, batch_size=4), (0, 1), ())) == []
    assert {json.dumps(dict(t.changes)) for t in found} <= {
        json.dumps(dict(t.changes)) for t in find_trials(out / "trials", Study(BASE, (0, 1), ()))
    }


@pytest.mark.parametrize(
    ("base", "options", "message"),
    [
        (
            replace(BASE, measure_on="test"),
            {},
            r"data to choose hyper-parameters on: required validation data; found test data. Use RunConfig\(",
        ),
        (BASE, {"seeds": ()}, "option --seeds: required at least one value; found none. Name one after --seeds"),
        (BASE, {"tolerance": -0.01}, "tolerance of the choice: required 0 to 100 points of ACA; found -1. Use --tol"),
    ],
)
def test_options_that_do_not_go_together(
    base: RunConfig, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        search(tmp_path / "out", TWO, base, **options)
    assert not (tmp_path / "out").exists()


def test_a_value_out_of_range_is_told_before_the_first_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="option --penalty-weight: required 0 or more; found -1"):
        search(tmp_path / "out", {"penalty_weight": (0.1, -1.0)})
    assert not (tmp_path / "out").exists()


def test_output_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        ConfigError, match=r"output folder .*file: required a folder, or nothing yet; found a file. Use"
    ):
        search(tmp_path / "file", TWO)
