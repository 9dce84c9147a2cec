"""Batches of runs: the one way that every command takes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from rich.console import Console

from hypertail.errors import ConfigError, HypertailError, TrainingError
from hypertail.lab.experiments import batch
from hypertail.lab.experiments.batch import Job, Runner, run_batch
from hypertail.lab.experiments.config import RunConfig, expand
from hypertail.lab.experiments.console import ConsoleListener, threads_line
from hypertail.lab.experiments.listener import Listener
from hypertail.lab.experiments.place import DataPlace, Place, stream_of
from hypertail.lab.experiments.run import Existing
from hypertail.lab.records.runfile import FILE_NAME, RunFile
from hypertail.streams import Stream
from hypertail.training.trainer import Trainer
from support.tiny import tiny_stream

BASE = RunConfig("digits", "naive", epochs=1, batch_size=32, experiences=2, image_size=8, options={"trunk_epochs": 1})


def jobs_of(configs: list[RunConfig], out: Path, existing: Existing = "error") -> list[Job]:
    return [Job(config, out / config.run_name, f"{config.label} seed {config.seed}", existing) for config in configs]


def console(width: int = 100) -> tuple[Console, io.StringIO]:
    written = io.StringIO()
    return Console(file=written, width=width, color_system=None), written


class Compared(NamedTuple):
    """Two strategies at two seeds, as a command runs them."""

    out: Path
    configs: list[RunConfig]
    runs: list[RunFile]
    text: str


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Compared:
    out = tmp_path_factory.mktemp("compared")
    configs = expand(["separate-4", "replay-4"], [], [0, 1], BASE, {"trunk_epochs": 1})
    screen, written = console()
    with ConsoleListener(screen, threads_line()) as listener:
        runs = run_batch(jobs_of(configs, out), Place(command="hypertail run digits ..."), listener)
    return Compared(out, configs, runs, written.getvalue())


@pytest.mark.slow
def test_a_directory_each_and_a_line_each(compared: Compared) -> None:
    names = {config.run_name for config in compared.configs}
    assert {path.name for path in compared.out.iterdir()} == {*names, "trunks"}
    assert len(list((compared.out / "trunks").iterdir())) == 2  # one for each seed
    assert len(compared.runs) == len(compared.configs) == 4
    for config, run in zip(compared.configs, compared.runs, strict=True):
        assert RunFile.read(compared.out / config.run_name / FILE_NAME) == run
        assert run.command == "hypertail run digits ..."
        assert f"{config.label} seed {config.seed}: ACA {100 * (run.metrics['aca'] or 0):.1f} %, " in compared.text


def test_existing_runs_stop_a_batch_before_it_begins(compared: Compared) -> None:
    new = replace(BASE, seed=9)
    with pytest.raises(ConfigError) as error:
        run_batch(jobs_of([new, *compared.configs], compared.out))
    assert error.value.problem == f"run directory {compared.out / compared.configs[0].run_name} and 3 more"
    assert "--existing reuse" in error.value.hint
    assert not (compared.out / new.run_name).exists()


def test_reuse_trains_nothing_and_says_so(compared: Compared, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[int] = []

    def load(config: RunConfig, data: DataPlace) -> Stream:
        loaded.append(config.seed)
        return stream_of(config, data)

    monkeypatch.setattr(batch, "stream_of", load)
    monkeypatch.setattr(Trainer, "run", lambda *_, **__: pytest.fail("trained"))
    screen, written = console()
    with ConsoleListener(screen) as listener:
        assert run_batch(jobs_of(compared.configs, compared.out, "reuse"), Place(), listener) == compared.runs
    assert written.getvalue().count("finished before") == 4
    assert loaded == [0, 1]  # to compare the data with that of the runs


def test_what_was_read_is_said_once_before_training(compared: Compared) -> None:
    """case 39, and the reports of what was read: with two seeds and two strategies."""
    lines = compared.text.splitlines()
    threads = torch.get_num_threads()
    assert lines[0].startswith(f"{threads} CPU thread")
    assert lines[0].endswith(": --threads N; results then differ in the last digits)")
    assert lines[1].startswith("digits: ")
    assert " training images of 10 classes (0 " in lines[1]
    assert sum(line.startswith("digits: ") for line in lines) == 1
    assert lines.index(next(line for line in lines if "ACA" in line)) > 1


def test_a_stream_is_loaded_once_for_each_seed(tmp_path: Path) -> None:
    loaded: list[int] = []

    def load(config: RunConfig) -> Stream:
        loaded.append(config.seed)
        return tiny_stream(1, per_class=6, size=16)

    configs = expand(["separate-4", "replay-4"], [], [3, 4], BASE, {"trunk_epochs": 1})
    Runner(Place(), load=load).run(jobs_of(configs, tmp_path))
    assert loaded == [3, 4]


@pytest.mark.parametrize("existing", ["error", "reuse", "replace"])
def test_output_that_is_a_file(existing: Existing, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(ConfigError, match=r"output folder .*file: required a folder, or nothing yet; found a file."):
        run_batch(jobs_of([BASE], tmp_path / "file", existing))
    assert (tmp_path / "file").read_text() == "precious"


def test_what_does_not_fit_the_cache_is_said(tmp_path: Path) -> None:
    screen, written = console(width=400)
    config = replace(BASE, strategy="separate", depth=4, epochs=2, options={"trunk_epochs": 1, "views": 1})
    with ConsoleListener(screen) as listener:
        run_batch(jobs_of([config], tmp_path / "runs"), Place(cache_bytes=0, speed="full"), listener)
    lines = [line for line in written.getvalue().splitlines() if "--cache-bytes" in line]
    assert len(lines) == 1
    assert lines[0].startswith("Separate-4 seed 0: inputs beyond the cache of 0 MiB are kept in memory-mapped")


class Failures(Listener):
    """Keeps what went wrong."""

    def __init__(self) -> None:
        self.problems: list[tuple[str, str]] = []

    def failed(self, job: Job, error: HypertailError) -> None:
        self.problems.append((job.title, error.required))


def test_a_batch_may_go_on_after_a_run_that_diverged(tmp_path: Path) -> None:
    wild = replace(BASE, seed=1, options={"trunk_epochs": 1, "lr": 1e30})
    jobs = jobs_of([wild, BASE], tmp_path)
    load = lambda config: tiny_stream(2, per_class=6, size=16)  # noqa: E731
    with pytest.raises(TrainingError):
        Runner(Place(), load=load).run(jobs)
    assert not jobs[1].is_finished
    listener = Failures()
    (run,) = Runner(Place(), listener, load).run(jobs_of([wild, BASE], tmp_path, "reuse"), keep_going=True)
    assert run.seed == 0
    assert len(listener.problems) == 1
    assert listener.problems[0][0] == "Naive seed 1"


def test_jobs_may_be_thought_of_as_results_come_in(tmp_path: Path) -> None:
    """A search proposes the next run when it knows the last."""
    done: list[int] = []

    def propose() -> Iterator[Job]:
        for seed in (0, 1):
            assert done == list(range(seed))
            yield jobs_of([replace(BASE, seed=seed)], tmp_path)[0]

    class Told(Listener):
        def finished(self, job: Job, run: RunFile, *, reused: bool) -> None:
            done.append(run.seed)

    Runner(Place(), Told(), lambda config: tiny_stream(1, per_class=6, size=16)).run(propose())
    assert done == [0, 1]
