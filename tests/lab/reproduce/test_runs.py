"""Runs of reproduced targets: found wherever they lie, made where they are missing, never made twice."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hypertail.errors import ConfigError, DataError
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.describe import described
from hypertail.lab.experiments.library import Library, directory_name, distinct
from hypertail.lab.experiments.place import Place
from hypertail.lab.reproduce.reproduce import reproduce
from hypertail.lab.reproduce.setting import Setting
from hypertail.storage.seal import sealed
from support.made_runs import finished

HN = RunConfig("digits", "hn", 3)
SMOKE = Setting(scale="smoke", strategies=("naive", "separate-4"))


def written(config: RunConfig, folder: Path) -> Path:
    """The file of a made-up run of `config`."""
    return finished(config).run.write(folder / config.run_name / "run.json")


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_library_looks_below_its_folders_and_says_what_it_cannot_use(tmp_path: Path) -> None:
    written(HN, tmp_path / "a" / "deep")
    broken = tmp_path / "b" / "broken" / "run.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{")
    newer = written(replace(HN, seed=1), tmp_path / "b")
    content = json.loads(newer.read_text())
    content["config"]["method"]["flavour"] = 3
    newer.write_text(json.dumps(sealed(content)))
    library = Library.of([tmp_path / "a", tmp_path / "b", tmp_path / "a" / "deep"])
    (run,) = library.runs
    assert (run.config, run.directory) == (HN, tmp_path / "a" / "deep" / HN.run_name)
    assert len(library.unread) == 2
    assert any("unknown option of a run 'flavour'" in text for text in library.unread)
    assert library.finished([HN]) == (run,)
    assert library.missing([HN, replace(HN, seed=1)]) == [replace(HN, seed=1)]


@pytest.mark.parametrize(("epochs", "counts"), [(200, True), (199, False)])
def test_an_older_run_whose_tasks_were_long_counts_as_one_of_now(tmp_path: Path, epochs: int, counts: bool) -> None:
    """An option that would have changed nothing: each task of `finished` takes two steps an epoch."""
    config = replace(HN, epochs=epochs, batch_size=64)
    path = written(config, tmp_path)
    content = json.loads(path.read_text())
    del content["config"]["method"]["reference_steps"]
    for task in content["tasks"]:
        task["train"] = 128
    path.write_text(json.dumps(sealed(content)))
    library = Library.of([tmp_path])
    assert len(library.finished([config])) == counts
    before = config.with_options(reference_steps=1)
    assert len(library.finished([before])) == (not counts)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"folder of runs '.*no': required a folder .*; found nothing there. Check --from."
    ):
        Library.of([tmp_path / "no"])


def test_of_the_same_run_the_one_that_records_most_is_made() -> None:
    curves = replace(HN, eval_every=2)
    cosine = replace(HN, options=dict(record_cosine=True))
    assert distinct([HN, curves, HN]) == [curves]
    assert distinct([curves, HN]) == [curves]
    assert distinct([curves, cosine]) == [curves, cosine]
    both = replace(cosine, eval_every=1)
    assert distinct([curves, cosine, HN, both]) == [both]
    assert distinct([HN, replace(HN, seed=1)]) == [HN, replace(HN, seed=1)]


def test_directories_differ_where_runs_do() -> None:
    names = [
        directory_name(config)
        for config in (
            HN,
            replace(HN, eval_every=1),
            replace(HN, options=dict(lookahead="first")),
            replace(HN, options=dict(views=7)),
        )
    ]
    assert len(set(names)) == len(names)
    assert all(name.startswith("digits-hn-3-tuned-e10-seed0-") for name in names)
    assert directory_name(replace(HN, options=dict(ewc_weight=7.0))) == names[0]


def test_what_is_missing_is_run_and_then_found(tmp_path: Path) -> None:
    place = Place(speed="full", command="hypertail reproduce table2")
    reproduce(["table2"], SMOKE, tmp_path, quiet(), place=place)
    configs = [config for name in ("naive", "separate-4") for config in SMOKE.config("split-cifar100", name)]
    library = Library.of([tmp_path])
    assert library.missing(configs) == []
    assert {run.run.command for run in library.runs} == {"hypertail reproduce table2"}
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("run.json")}
    reproduce(["table2"], SMOKE, tmp_path, quiet(), place=place)  # finished ones are read, not run
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("run.json")} == before


def test_runs_of_another_precision_are_other_runs(tmp_path: Path) -> None:
    """A precision that is asked for is part of what a run is; `auto` takes either."""
    for number, precision in enumerate(("full", "mixed")):
        run = finished(replace(HN, seed=number)).run
        replace(run, extra={"precision": precision}).write(tmp_path / precision / "run.json")
    library = Library.of([tmp_path])
    configs = [replace(HN, seed=number) for number in (0, 1)]
    assert library.at("auto").missing(configs) == []
    assert library.at("full").missing(configs) == [configs[1]]
    assert library.at("mixed").missing(configs) == [configs[0]]


def test_runs_that_two_targets_need_are_made_once(tmp_path: Path) -> None:
    setting = Setting(scale="smoke", strategies=("hn-4",))
    console = quiet()
    files = reproduce(["table4", "table5"], setting, tmp_path, console, place=Place(speed="full"))
    assert len(list((tmp_path / "runs").glob("*/run.json"))) == 3  # none, first, second
    assert "table4: 2 of 2 runs to do" in text_of(console)
    assert "table5: 1 of 2 runs to do" in text_of(console)
    assert {path.name for path in files} == {f"table{n}.{kind}" for n in (4, 5) for kind in ("md", "csv", "tex")}
    assert all(path.is_file() for path in files)
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "tables", "targets.json"}


def test_finished_runs_elsewhere_are_used(tmp_path: Path) -> None:
    for name in ("hn-3", "hn-4"):
        for order in ("none", "first"):
            (config,) = Setting(seeds=(0,)).config("split-cifar100", name, values={"lookahead": order})
            written(config, tmp_path / "elsewhere" / f"{name}-{order}")
    out, console = tmp_path / "out", quiet()
    reproduce(["table4"], Setting(seeds=(0,)), out, console, others=[tmp_path / "elsewhere"])
    assert "to do" not in text_of(console)
    assert not (out / "runs").exists()
    assert "–" not in (out / "tables" / "table4.md").read_text()


def test_a_plan_says_what_is_finished_and_does_nothing(tmp_path: Path) -> None:
    configs = SMOKE.config("split-cifar100", "naive")
    written(configs[0], tmp_path / "elsewhere")
    console = quiet()
    out = tmp_path / "out"
    assert reproduce(["table2"], SMOKE, out, console, others=[tmp_path / "elsewhere"], plan_only=True) == []
    assert "2 runs, 1 finished, 1 not started" in text_of(console)
    assert f"finished: {tmp_path / 'elsewhere'}" in text_of(console)
    assert not out.exists()


def test_a_plan_counts_what_is_begun(tmp_path: Path) -> None:
    setting = Setting(scale="smoke", strategies=("naive", "separate-4", "joint"))
    naive, separate = (setting.config("split-cifar100", name)[0] for name in ("naive", "separate-4"))
    finished(naive).run.write(tmp_path / "runs" / directory_name(naive) / "run.json")
    (tmp_path / "runs" / directory_name(separate)).mkdir()
    console = quiet()
    reproduce(["table2"], setting, tmp_path, console, plan_only=True)
    assert "3 runs, 1 finished, 1 begun, 1 not started" in text_of(console)


def test_without_running_there_are_gaps(tmp_path: Path) -> None:
    reproduce(["table2"], SMOKE, tmp_path, quiet(), run=False)
    assert not (tmp_path / "runs").exists()
    assert "nothing measured is shown" in (tmp_path / "tables" / "table2-split-cifar100.md").read_text()


@pytest.mark.parametrize(
    ("names", "setting", "message"),
    [
        (["tabel2"], SMOKE, r"unknown table or figure 'tabel2': .* Did you mean 'table2'\?"),
        ([], SMOKE, "tables or figures: required at least one; found none. Name table2, say."),
        (
            ["table4"],
            SMOKE,
            "rows of table4: required at least one; found none for --strategy naive separate-4. "
            "Ask for other ones, or leave these options out.",
        ),
        (["table1"], Setting(streams=("split-cifar100",)), r"rows of table1: .* none for --stream split-cifar100"),
        (["table6"], Setting(streams=("noisy-cifar100",)), r"rows of table6: .* none for --stream noisy-cifar100"),
        (["samples"], Setting(streams=("split-cifar100",)), r"rows of samples: .* none for --stream split-cifar100"),
    ],
)
def test_what_cannot_be_made(names: list[str], setting: Setting, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        reproduce(names, setting, tmp_path / "out", quiet())
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("mine")
    with pytest.raises(ConfigError, match=r"output folder .*runs: required a folder, or nothing yet; found a file"):
        reproduce(["table2"], SMOKE, tmp_path, quiet())


@pytest.mark.parametrize(
    ("depth", "options", "name"),
    [
        (3, dict(), "HN-3"),
        (3, dict(penalty_weight=0.0015, damping=0.03), "HN-3"),
        (4, dict(penalty_weight=0.005), "HN-4 (penalty-weight 0.005)"),
        (0, dict(rank=32, lookahead="first", trunk_epochs=1), "HN-F (rank 32, lookahead first)"),
    ],
)
def test_runs_are_described_by_what_differs_from_the_preset(depth: int, options: dict[str, Any], name: str) -> None:
    assert described(replace(HN, depth=depth, options=options)) == name
    assert described(RunConfig("digits", "naive", options=options)) == "Naive"
