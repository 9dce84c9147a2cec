"""Comparisons, their progress and their tables; the quickstart; reports that overwrite nothing."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from hypertail.errors import ConfigError, DataError
from hypertail.lab.experiments import batch as commands
from hypertail.lab.experiments import progress
from hypertail.lab.experiments.batch import print_info, print_tables, quickstart, report, run_all
from hypertail.lab.experiments.config import RunConfig, expand
from hypertail.lab.experiments.place import DataPlace, stream_of
from hypertail.lab.experiments.progress import RunProgress
from hypertail.lab.experiments.run import Existing
from hypertail.lab.experiments.sizes import describe
from hypertail.lab.records.runfile import FILE_NAME, RunFile
from hypertail.lab.reproduce.reproduce import reproduce
from hypertail.lab.reproduce.setting import Setting
from hypertail.lab.reproduce.targets import TARGETS
from hypertail.recipes.method import Method
from hypertail.recipes.presets import PRINTED
from hypertail.streams import Stream
from hypertail.training.trainer import Trainer

BASE = RunConfig("digits", "naive", epochs=1, batch_size=32, experiences=2, image_size=8, method=Method(trunk_epochs=1))


def console(width: int = 100, *, terminal: bool = False) -> tuple[Console, io.StringIO]:
    written = io.StringIO()
    return Console(file=written, width=width, force_terminal=terminal, color_system=None), written


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[RunConfig], list[RunFile], str]:
    """Two strategies at two seeds."""
    out = tmp_path_factory.mktemp("compared")
    configs = expand(["separate-4", "lr-4"], [], [0, 1], BASE)
    screen, written = console()
    runs = run_all(configs, out, screen, line="hypertail run digits ...")
    return out, configs, runs, written.getvalue()


def test_a_directory_each_and_a_line_each(compared: tuple[Path, list[RunConfig], list[RunFile], str]) -> None:
    out, configs, runs, written = compared
    assert {path.name for path in out.iterdir()} == {*(config.run_name for config in configs), "trunks"}
    assert len(list((out / "trunks").iterdir())) == 2  # one for each seed
    for config, run in zip(configs, runs, strict=True):
        assert RunFile.read(out / config.run_name / FILE_NAME) == run
        assert run.command == "hypertail run digits ..."
        assert f"{config.label} seed {config.seed}: ACA {100 * (run.metrics['aca'] or 0):.1f} %, " in written


def test_one_table(compared: tuple[Path, list[RunConfig], list[RunFile], str]) -> None:
    screen, written = console()
    print_tables(compared[2], screen)
    text = written.getvalue()
    assert text.count("ACA") == 1
    assert text.count("Separate-4") == text.count("LR-4") == 1


def test_existing_runs_stop_a_comparison_before_it_begins(
    compared: tuple[Path, list[RunConfig], list[RunFile], str],
) -> None:
    out, configs, _, _ = compared
    new = replace(BASE, seed=9)
    with pytest.raises(ConfigError) as error:
        run_all([new, *configs], out, console()[0])
    assert str(error.value) == (
        f"run directory {out / configs[0].run_name} and 3 more: required a directory that does not exist yet; found an "
        "existing one. Use another --out, or --existing reuse to continue, or --existing replace to start again."
    )
    assert not (out / new.run_name).exists()


def test_reuse_trains_nothing_and_says_so(
    compared: tuple[Path, list[RunConfig], list[RunFile], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, configs, runs, _ = compared
    loaded: list[int] = []

    def load(config: RunConfig, data: DataPlace) -> Stream:
        loaded.append(config.seed)
        return stream_of(config, data)

    monkeypatch.setattr(commands, "stream_of", load)
    monkeypatch.setattr(Trainer, "run", lambda *_, **__: pytest.fail("trained"))
    screen, written = console()
    assert run_all(configs, out, screen, existing="reuse") == runs
    assert written.getvalue().count("finished before") == 4
    assert loaded == [0, 1]  # to compare the data with that of the runs


def test_what_was_read_is_said_once_before_training(
    compared: tuple[Path, list[RunConfig], list[RunFile], str],
) -> None:
    """case 39, and the reports of what was read: with two seeds and two strategies."""
    lines = compared[3].splitlines()
    threads = torch.get_num_threads()
    assert lines[0].startswith(f"{threads} CPU thread")
    assert lines[0].endswith(": --threads N; results then differ in the last digits)")
    assert lines[1].startswith("digits: ")
    assert " training images of 10 classes (0 " in lines[1]
    assert sum(line.startswith("digits: ") for line in lines) == 1
    assert lines.index(next(line for line in lines if "ACA" in line)) > 1


def test_a_stream_is_loaded_once_for_each_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[int] = []

    def load(config: RunConfig, data: DataPlace) -> Stream:
        loaded.append(config.seed)
        return stream_of(config, data).first(1)

    monkeypatch.setattr(commands, "stream_of", load)
    run_all(expand(["separate-4", "lr-4"], [], [3, 4], BASE), tmp_path, console()[0])
    assert loaded == [3, 4]


@pytest.mark.parametrize("existing", ["error", "reuse", "replace"])
def test_output_that_is_a_file(existing: Existing, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(ConfigError, match=r"output folder .*file: required a folder, or nothing yet; found a file."):
        run_all([BASE], tmp_path / "file", console()[0], existing=existing)
    assert (tmp_path / "file").read_text() == "precious"


def test_report_overwrites_only_when_told(
    compared: tuple[Path, list[RunConfig], list[RunFile], str], tmp_path: Path
) -> None:
    out = tmp_path / "[b]new" / "report.html"
    screen, written = console()
    assert report([compared[0]], out, screen) == out
    assert f"report: {out.resolve()}" in written.getvalue()
    out.write_text("mine")
    with pytest.raises(ConfigError, match=r"report .*: required a file that does not exist yet; .* or --overwrite."):
        report([compared[0]], out, screen)
    assert out.read_text() == "mine"
    report([compared[0]], out, screen, overwrite=True)
    assert "<html" in out.read_text()


def test_report_without_runs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"required at least one run.json, in it or in a folder below; found none"):
        report([tmp_path], tmp_path / "report.html", console()[0])
    assert not (tmp_path / "report.html").exists()


def test_report_of_tables_that_no_run_was_needed_for(tmp_path: Path) -> None:
    folder = tmp_path / "reproduced"
    screen, _ = console()
    reproduce(("table3",), Setting(scale="smoke"), folder, screen)
    assert not any(folder.rglob(FILE_NAME))
    page = report([folder], tmp_path / "report.html", screen).read_text(encoding="utf-8")
    assert TARGETS["table3"].sentence.split(".")[0] in page


def test_what_does_not_fit_the_cache_is_said(tmp_path: Path) -> None:
    screen, written = console(width=400)
    config = replace(BASE, strategy="separate", depth=4, views=1, epochs=2)
    run_all([config], tmp_path / "runs", screen, cache_bytes=0, speed="full")
    lines = [line for line in written.getvalue().splitlines() if "--cache-bytes" in line]
    assert len(lines) == 1
    assert lines[0].startswith("Separate-4 seed 0: inputs beyond the cache of 0 MiB are kept in memory-mapped")


def test_info_fits_eighty_columns() -> None:
    screen, written = console(80)
    print_info(describe(3, tasks=20, classes=100, method=PRINTED), screen)
    text = written.getvalue()
    assert "924,322" in text
    assert "3.70 MB" in text
    assert "80×8×8" in text
    assert "…" not in text


def test_quickstart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "QUICKSTART", ("naive", "hn-4"))
    monkeypatch.setattr(commands, "stream_of", lambda config, data: stream_of(replace(BASE, seed=config.seed), data))
    for _ in range(2):  # made anew each time
        screen, written = console()
        path = quickstart(tmp_path / "q", 1, (0,), screen, "hypertail quickstart")
        assert path == tmp_path / "q" / "report.html"
        assert "<html" in path.read_text()
        assert f"report with pictures: {path.resolve()}" in written.getvalue()
        assert "HN-4" in written.getvalue()


def test_quickstart_names_what_it_compares() -> None:
    assert [config.label for config in expand(commands.QUICKSTART, (), (0,), BASE)] == [
        *("Naive", "EWC", "LR-2", "HN-2", "HN-F", "Separate-2")
    ]


# --- progress ----------------------------------------------------------------------------------------------------


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_lines_with_time_left_where_there_is_no_terminal(clock: Clock) -> None:
    screen, written = console(30)  # narrower than a line, which stays whole
    with RunProgress(screen, every=10) as shown:
        shown.start("HN-3 seed 0 (1/2)")
        for now, done in ((5, 10), (12, 20), (15, 30), (25, 40)):
            clock.now = now
            shown(done, 400, f"epoch {done}")
    assert written.getvalue().splitlines() == [
        "HN-3 seed 0 (1/2): 20/400 steps, epoch 20, about 0:04:26 left",
        "HN-3 seed 0 (1/2): 40/400 steps, epoch 40, about 0:04:00 left",
    ]


def test_each_phase_is_timed_on_its_own(clock: Clock) -> None:
    screen, written = console()
    with RunProgress(screen, every=1) as shown:
        shown.start("HN-3")
        clock.now = 100
        shown(100, 100, "trunk")
        clock.now = 101
        shown(10, 110, "first")  # nothing to judge by yet
        clock.now = 103
        shown(20, 110, "second")
        shown.start("LR-3")
        clock.now = 200
        shown(90, 110, "continued")
        clock.now = 201
        shown(100, 110, "next")
    assert written.getvalue().splitlines() == [
        "HN-3: 100/100 steps, trunk",
        "HN-3: 10/110 steps, first",
        "HN-3: 20/110 steps, second, about 0:00:18 left",
        "LR-3: 90/110 steps, continued",
        "LR-3: 100/110 steps, next, about 0:00:01 left",
    ]


def test_a_bar_on_a_terminal() -> None:
    screen, written = console(terminal=True)
    with RunProgress(screen) as shown:
        shown.start("HN-3 seed 0")
        shown(5, 10, "experience 1/2")
    assert "HN-3 seed 0" in written.getvalue()
    assert "50%" in written.getvalue()
    assert "left" in written.getvalue()
