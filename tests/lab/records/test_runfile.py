"""run.json: what is written is read back, and every wrong key is named."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hypertail.errors import CheckpointError, DataError
from hypertail.lab.records.datarecord import DataRecord
from hypertail.lab.records.runfile import RunFile, find_runs
from hypertail.recipes.catalogue import label_for
from hypertail.storage.seal import sealed
from hypertail.streams.report import DatasetReport, LeftOut
from hypertail.training.metrics import summarise
from support.errors import refused
from support.sample_runs import sample_run, tiny_run

KEYS = (
    "format format_version stream strategy depth label preset seed epochs config tasks accuracy metrics seconds "
    "seconds_by_phase seconds_per_experience bytes_kept bytes_kept_parts bytes_per_experience "
    "hypernetwork_parameters parameters curves versions hardware command started digest"
)


def written(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A run.json of the version before digests, with `change` made to its content by hand."""
    path = sample_run("hn", 3, n=2).write(tmp_path / "run.json")
    content = json.loads(path.read_text())
    del content["digest"]
    content["format_version"] = 1
    change(content)
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("change", ["edited", "flipped", "no digest", "another version"])
def test_what_was_changed_since_it_was_written_is_refused(change: str, tmp_path: Path) -> None:
    path = sample_run("hn", 3, n=2).write(tmp_path / "run.json")
    content = json.loads(path.read_text())
    if change == "edited":
        content["seconds"] += 1
    elif change == "no digest":
        del content["digest"]
    elif change == "another version":
        content["format_version"] = 1
    path.write_text(json.dumps(content))
    if change == "flipped":
        path.write_text(json.dumps(content).replace('"label": "HN-3"', '"label": "HN-2"'))
    with refused(CheckpointError, problem="run.json", required="that was written", found="by its digest"):
        RunFile.read(path)


@pytest.mark.parametrize(
    ("strategy", "depth", "label"),
    [
        ("hn", 3, "HN-3"),
        ("hn", "full", "HN-F"),
        ("lr", 2, "LR-2"),
        ("lr", 0, "LR-0"),
        ("separate", 3, "Separate-3"),
        ("naive", None, "Naive"),
        ("ewc", None, "EWC"),
        ("joint", None, "Joint"),
        ("mine", None, "mine"),
    ],
)
def test_labels(strategy: str, depth: int | str | None, label: str) -> None:
    assert label_for(strategy, depth) == label


@pytest.mark.parametrize(("strategy", "depth"), [("hn", "full"), ("joint", None), ("separate", 3)])
def test_what_is_written_is_read_back(tmp_path: Path, strategy: str, depth: int | str | None) -> None:
    run = sample_run(strategy, depth, n=4)
    assert RunFile.read(run.write(tmp_path / "new" / "folder" / "run.json")) == run
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["run.json"]


def test_file_has_exactly_the_documented_keys(tmp_path: Path) -> None:
    content = json.loads(sample_run(n=2).write(tmp_path / "run.json").read_text())
    assert set(content) == set(KEYS.split())
    page = (Path(__file__).parents[3] / "docs" / "reference" / "run-json.md").read_text(encoding="utf-8")
    assert [key for key in content if f"| `{key}` |" not in page] == []


def test_not_measured_is_null_and_metrics_are_derived(tmp_path: Path) -> None:
    run = sample_run("naive", None, n=3)
    content = json.loads(run.write(tmp_path / "run.json").read_text())
    assert [row.count(None) for row in content["accuracy"]] == [2, 1, 0]
    assert content["metrics"] == summarise(run.matrix)
    assert np.isnan(run.matrix).sum() == 3


def test_a_file_is_never_overwritten_unless_told(tmp_path: Path) -> None:
    path = sample_run(n=2).write(tmp_path / "run.json")
    other = sample_run(n=2, seed=1)
    with pytest.raises(CheckpointError) as error:
        other.write(path)
    assert str(error.value) == (
        f"run file '{path}': required a path where nothing exists yet; found a file. "
        "Write elsewhere, or pass overwrite=True to replace it."
    )
    assert RunFile.read(path).seed == 0
    other.write(path, overwrite=True)
    assert RunFile.read(path).seed == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]


def test_unknown_keys_are_kept(tmp_path: Path) -> None:
    path = written(tmp_path, lambda content: content.update(energy={"joules": 5}))
    run = RunFile.read(path)
    assert run.extra == {"energy": {"joules": 5}}
    assert json.loads(run.write(tmp_path / "again.json").read_text())["energy"] == {"joules": 5}


LEFT = (LeftOut("unreadable", 1, ("b.png",)),)
REPORT = DatasetReport("x", "folder x", {"train": {"a": 3}}, {"test": 1}, LEFT, ("n",))
DATA = DataRecord("0a1b", (REPORT,))


def test_data_is_an_optional_key(tmp_path: Path) -> None:
    """cases 3 and 4: a digest and what was read; files of older versions have neither."""
    run = replace(sample_run(), data=DATA)
    path = run.write(tmp_path / "run.json")
    content = json.loads(path.read_text())
    assert content["data"] == {"digest": "0a1b", "reports": [REPORT.to_json()]}
    assert RunFile.read(path) == run
    del content["data"]
    path.write_text(json.dumps(sealed(content)))
    older = RunFile.read(path)
    assert older == sample_run()
    assert "data" not in older.to_json()


@pytest.mark.parametrize(
    "value",
    [
        *(None, [], {}, {"digest": "", "reports": []}, {"digest": 3, "reports": []}, {"digest": "a"}),
        *({"digest": "a", "reports": reports} for reports in ([{"name": "x"}], {}, 7)),
    ],
)
def test_data_that_does_not_fit(value: object, tmp_path: Path) -> None:
    content = sample_run().to_json() | {"data": value}
    (tmp_path / "run.json").write_text(json.dumps(sealed(content)))
    with pytest.raises(CheckpointError, match=r"key 'data': required an object with digest .* and reports"):
        RunFile.read(tmp_path / "run.json")


def test_accuracy_without_tasks_is_an_optional_key(tmp_path: Path) -> None:
    ways = {"class_means": {"accuracy": 0.5, "right_task": 0.75}}
    run = replace(sample_run(), class_incremental=ways)
    assert RunFile.read(run.write(tmp_path / "run.json")).class_incremental == ways
    assert run.cil == 0.5
    assert sample_run().cil is None
    assert "class_incremental" not in sample_run().to_json()


@pytest.mark.parametrize(
    "value",
    [[], {"class_means": 0.5}, {"class_means": {"accuracy": 0.5}}, {"a": {"accuracy": 1.5, "right_task": 0.5}}, None],
)
def test_accuracy_without_tasks_that_does_not_fit(value: object, tmp_path: Path) -> None:
    path = written(tmp_path, lambda content: content.update(class_incremental=value))
    with pytest.raises(CheckpointError, match="key 'class_incremental': required an object: way -> accuracy"):
        RunFile.read(path)


def test_changed_answers_are_an_optional_key(tmp_path: Path) -> None:
    tasks = len(sample_run().tasks)
    shares = (0.25, *(0.0,) * (tasks - 2), 0.5)
    run = replace(sample_run(), answers_changed=shares)
    assert RunFile.read(run.write(tmp_path / "run.json")).answers_changed == shares
    assert run.changed == pytest.approx(0.25 / (tasks - 1))  # the last task had no time to change
    assert replace(run, answers_changed=(None, *shares[1:])).changed is None
    assert sample_run().changed is None
    assert "answers_changed" not in sample_run().to_json()


@pytest.mark.parametrize("value", [{}, 0.5, [1.5], ["a"], [0.5] * 9, None])
def test_changed_answers_that_do_not_fit(value: object, tmp_path: Path) -> None:
    path = written(tmp_path, lambda content: content.update(answers_changed=value))
    with pytest.raises(CheckpointError, match="key 'answers_changed': required"):
        RunFile.read(path)


def test_curves_and_metrics_may_be_missing(tmp_path: Path) -> None:
    def drop(content: dict[str, Any]) -> None:
        del content["curves"], content["metrics"]

    run = RunFile.read(written(tmp_path, drop))
    assert run.curves == ()
    assert run.metrics["aca"] is not None


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as error:
        RunFile.read(tmp_path / "run.json")
    assert str(error.value) == (
        f"run file '{tmp_path / 'run.json'}': required a readable file; found No such file or directory. "
        "Check the path."
    )


def test_not_json(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"format": ')
    with pytest.raises(CheckpointError, match=r"required JSON; found text that is not .*damaged: restore it or run"):
        RunFile.read(path)


@pytest.mark.parametrize(
    ("text", "found"),
    [('{"format": "other"}', '"format": "other"'), ("{}", "no such key"), ("[1]", "no such key")],
)
def test_foreign_file(tmp_path: Path, text: str, found: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(CheckpointError) as error:
        RunFile.read(path)
    assert str(error.value) == (
        f'run file \'{path}\': required "format": "hypertail-run"; found {found}. '
        "This is some other file: name a run.json that hypertail wrote."
    )


def test_newer_version_says_to_upgrade(tmp_path: Path) -> None:
    path = written(tmp_path, lambda content: content.update(format_version=3))
    with pytest.raises(CheckpointError) as error:
        RunFile.read(path)
    assert str(error.value) == (
        f"run file '{path}': required format_version up to 2; found 3. "
        "A newer hypertail wrote it: upgrade with `pip install -U hypertail`."
    )


@pytest.mark.parametrize(
    ("key", "value", "required", "found"),
    [
        ("format_version", "1", "a whole number from 1", "'1'"),
        ("stream", "", "a text", "''"),
        ("depth", -1, 'a whole number from 0, "full" or null', "-1"),
        ("seed", True, "a whole number", "True"),
        ("epochs", 1.5, "a whole number from 0", "1.5"),
        ("config", None, "an object of JSON values (finite numbers)", "None"),
        ("tasks", [], "a list of tasks, each with name, classes, train and test", "[]"),
        (
            "tasks",
            [{"name": "a"}],
            "a list of tasks, each with name, classes, train and test",
            "[{'name': 'a'}]",
        ),
        ("accuracy", [[0.5]], "a 2 x 2 matrix (one row and one column per task)", "1 rows of 1 values"),
        (
            "accuracy",
            [[50.0, None], [1, 1]],
            "a list of rows of numbers in 0..1 or null",
            "[[50.0, None], [1, 1]]",
        ),
        ("seconds", -1, "a number from 0 to 1e12", "-1"),
        ("seconds", 1e308, "a number from 0 to 1e12", "1e+308"),
        ("seconds_by_phase", {"trunk": "1"}, "an object of numbers from 0 to 1e12", "{'trunk': '1'}"),
        ("seconds_per_experience", [1.0], "2 values (one per task), or none", "1"),
        ("bytes_kept", 1.5, "a whole number from 0", "1.5"),
        ("bytes_kept_parts", [], "an object of whole numbers from 0", "[]"),
        ("bytes_per_experience", [1, 2, 3], "2 values (one per task), or none", "3"),
        ("hypernetwork_parameters", "many", "a whole number from 0, or null", "'many'"),
        ("parameters", {"tail": None}, "an object of whole numbers from 0", "{'tail': None}"),
        ("curves", [{"task": 0}], "a list of points, each with task, epoch and accuracy", "[{'task': 0}]"),
        ("versions", {"torch": 2}, "an object of texts", "{'torch': 2}"),
        ("hardware", [], "an object of JSON values", "[]"),
        ("command", None, "a text, which may be empty", "None"),
        ("metrics", 1, "an object", "1"),
    ],
)
def test_wrong_key_is_named(tmp_path: Path, key: str, value: object, required: str, found: str) -> None:
    path = written(tmp_path, lambda content: content.update({key: value}))
    with pytest.raises(CheckpointError) as error:
        RunFile.read(path)
    assert str(error.value) == (
        f"{path}: key '{key}': required {required}; found {found}. "
        "The file is damaged or was edited by hand: restore it or run again."
    )


@pytest.mark.parametrize("key", sorted(set(KEYS.split()) - {"format", "format_version", "curves", "metrics", "digest"}))
def test_missing_key_is_named(tmp_path: Path, key: str) -> None:
    path = written(tmp_path, lambda content: content.pop(key))
    with pytest.raises(CheckpointError, match=f"key '{key}': required .*; found no such key"):
        RunFile.read(path)


@pytest.mark.parametrize("value", [0.1, None, "0.5"])
def test_metric_that_contradicts_the_matrix_is_refused(tmp_path: Path, value: object) -> None:
    path = written(tmp_path, lambda content: content["metrics"].update(aca=value))
    with pytest.raises(CheckpointError, match=r"key 'metrics.aca': required 0\.\d+, as key 'accuracy' gives"):
        RunFile.read(path)


def test_metric_where_nothing_was_measured_is_refused(tmp_path: Path) -> None:
    path = sample_run("joint", None, n=2).write(tmp_path / "run.json")
    content = json.loads(path.read_text())
    content["metrics"]["forgetting"] = 0.0
    path.write_text(json.dumps(sealed(content)))
    with pytest.raises(CheckpointError, match=r"key 'metrics.forgetting': required null \(not measured\)"):
        RunFile.read(path)


def test_constructing_a_wrong_run_names_the_key() -> None:
    with pytest.raises(DataError) as error:
        replace(sample_run(n=2), epochs=-1)
    assert str(error.value) == (
        "run: key 'epochs': required a whole number from 0; found -1. docs/reference/run-json.md describes every key."
    )


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"a": {"b": [1, Path("x")]}}, "config.a.b[1] = "),
        ({"lr": float("nan")}, "config.lr = nan"),
        ({"a": {1: 2}}, "config.a[1]"),
    ],
)
def test_option_that_json_cannot_hold_is_named(config: dict[str, Any], found: str) -> None:
    with pytest.raises(DataError) as error:
        replace(sample_run(n=2), config=config)
    assert error.value.found.startswith(found)


def test_runs_are_found_in_files_and_folders(tmp_path: Path) -> None:
    for seed in (0, 1):
        sample_run(n=2, seed=seed).write(tmp_path / "sweep" / str(seed) / "run.json")
    single = sample_run(n=2, seed=2).write(tmp_path / "single.json")
    assert [run.seed for run in find_runs([tmp_path / "sweep", single])] == [0, 1, 2]
    again = tmp_path / "sweep" / "1" / "run.json"
    assert [run.seed for run in find_runs([again, tmp_path / "sweep", again])] == [1, 0]


def test_path_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        find_runs([tmp_path / "gone"])
    assert str(error.value) == (
        f"path '{tmp_path / 'gone'}': required a run.json or a folder that holds some; found nothing there. "
        "Check the spelling."
    )


def test_folder_without_runs(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        find_runs([tmp_path])
    assert str(error.value) == (
        f"folder '{tmp_path}': required at least one run.json, in it or in a folder below; found none. "
        "A run writes it when it finishes: check that the run is done, and its output folder."
    )


def test_no_paths() -> None:
    with pytest.raises(DataError, match="paths of runs: required at least one; found none"):
        find_runs([])


def test_a_run_with_gaps_round_trips(tmp_path: Path) -> None:
    run = tiny_run([[0.5, float("nan")], [float("nan"), 0.25]])
    assert RunFile.read(run.write(tmp_path / "run.json")).metrics["aca"] is None


@pytest.mark.parametrize(
    ("key", "text", "named"),
    [
        ("seconds", "9" * 400, "seconds"),
        ("seed", "-" + "9" * 400, "seed"),
        ("seconds", "1e999", "seconds"),
        ("seconds", "NaN", "seconds"),
        ("config", '{"a":' * 500 + "1" + "}" * 500, "config."),
        ("hardware", "[" * 500 + "]" * 500, "hardware["),
        ("extra", '{"b": [1, %s]}' % ("9" * 400), "extra.b[1]"),
        ("bytes_kept_parts", '{"model": %s}' % ("9" * 400), "bytes_kept_parts.model"),
        ("accuracy", "[[0.5, null], [-Infinity, 1]]", "accuracy[1][0]"),
        ("label", '"\\ud800"', "label"),
    ],
)
def test_values_made_to_do_harm_are_refused_with_their_key(key: str, text: str, named: str, tmp_path: Path) -> None:
    """case 20: no recursion without end, no overflow."""
    path = sample_run(n=2).write(tmp_path / "run.json")
    content = json.loads(path.read_text()) | {key: "HERE"}
    path.write_text(json.dumps(content).replace('"HERE"', text))
    with pytest.raises(CheckpointError) as error:
        RunFile.read(path)
    assert error.value.problem.startswith(f"{path}: key '{named}")
    with pytest.raises(CheckpointError):
        find_runs([tmp_path])


def test_a_key_said_twice(tmp_path: Path) -> None:
    """case 20: readers differ in which one counts."""
    path = sample_run(n=2).write(tmp_path / "run.json")
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 0, "seed": 1', 1))
    with pytest.raises(CheckpointError, match="key 'seed': required each key once; found it twice"):
        RunFile.read(path)


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000, "\x00", ""])
def test_a_text_that_is_no_run(text: str, tmp_path: Path) -> None:
    """case 20: deeper than Python can read, or longer."""
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"run\.json"):
        RunFile.read(tmp_path / "run.json")


def test_a_folder_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "run.json").mkdir()
    with pytest.raises(CheckpointError, match="something that is no file"):
        find_runs([tmp_path])


def test_runs_that_no_file_could_hold_are_not_made() -> None:
    """case 20: what would be refused when it is read is refused before it is written."""
    deep: Any = {}
    for _ in range(5000):
        deep = {"a": deep}
    for changes in ({"config": deep}, {"seed": 10**5000}, {"config": {"a": 10**5000}}, {"seconds": 10**400}):
        with pytest.raises(DataError):
            replace(sample_run(n=2), **changes)


def test_half_a_surrogate_pair_loses_no_run(tmp_path: Path) -> None:
    """case 20: from a class folder whose name is not UTF-8."""
    path = replace(sample_run(n=2), label="a\udcff").write(tmp_path / "run.json")
    assert RunFile.read(path).label == "a?"


def test_every_committed_run_opens() -> None:
    files = sorted((Path(__file__).parents[3] / "results").rglob("run.json"))
    assert files
    for file in files:
        RunFile.read(file)


def test_a_full_disk_keeps_the_old_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """case 18."""
    path = sample_run(n=2).write(tmp_path / "run.json")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        sample_run(n=2, seed=1).write(path, overwrite=True)
    assert RunFile.read(path).seed == 0
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]
