"""What the commands do: run a comparison, print it, the quickstart."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hypertail.errors import ConfigError
from hypertail.lab.experiments.config import RunConfig, expand
from hypertail.lab.experiments.dataplace import USUAL, DataPlace, stream_of
from hypertail.lab.experiments.directories import is_taken, refuse_busy
from hypertail.lab.experiments.progress import RunProgress
from hypertail.lab.experiments.readings import Readings, threads_line
from hypertail.lab.experiments.run import Existing, execute, shared_features
from hypertail.lab.experiments.sizes import Info
from hypertail.lab.records.runfile import FILE_NAME, RunFile, find_runs
from hypertail.lab.reports.html import write_report
from hypertail.lab.reports.tables import human_bytes, to_rich
from hypertail.lab.reproduce.record import read_targets
from hypertail.streams import Stream
from hypertail.training.precision import Speed

QUICKSTART = ("naive", "ewc", "lr-2", "hn-2", "hn-f", "separate-2")


def run_all(
    configs: Sequence[RunConfig],
    out: Path,
    console: Console,
    *,
    data: DataPlace = USUAL,
    device: torch.device | str = "cpu",
    existing: Existing = "error",
    cache_bytes: int | None = None,
    speed: Speed = "auto",
    line: str = "",
) -> list[RunFile]:
    """Execute configurations one after another, with progress; a stream is loaded once per seed.

    The number of CPU threads, and what was read of each dataset, are printed before training.

    Raises:
        ConfigError: before any training, if `out` is no folder, another process works in a run directory, or one exists
            and `existing` is `error`.
        HypertailError: from the first run that fails; finished ones stay.
    """
    _check_places(configs, out, existing)

    readings = Readings(console, threads_line() if torch.device(device).type == "cpu" else "")

    @lru_cache(maxsize=1)
    def stream(seed: int) -> Stream:
        return readings.show(stream_of(next(config for config in configs if config.seed == seed), data))

    runs = []
    shared = shared_features(device)
    with RunProgress(console) as progress:
        for number, config in enumerate(configs, start=1):
            title = f"{config.label} seed {config.seed}"
            kept = existing == "reuse" and (out / config.run_name / FILE_NAME).is_file()
            progress.start(f"{title} ({number}/{len(configs)})" if len(configs) > 1 else title)
            run = execute(
                config,
                out,
                stream=lambda seed=config.seed: stream(seed),  # type: ignore[misc]
                device=device,
                existing=existing,
                cache_bytes=cache_bytes,
                shared=shared,
                speed=speed,
                command=line,
                progress=progress,
                on_notice=lambda text, title=title: console.print(Text(f"{title}: {text}"), soft_wrap=True),  # type: ignore[misc]
            )
            aca = 100 * (run.metrics["aca"] or 0)
            reused = ", finished before" if kept else ""
            console.print(Text(f"{title}: ACA {aca:.1f} %, {run.seconds:.0f} s{reused}"), soft_wrap=True)
            runs.append(run)
    return runs


def _check_places(configs: Sequence[RunConfig], out: Path, existing: Existing) -> None:
    """Find out before the first run, not hours later, that a later one has no place."""
    if out.exists() and not out.is_dir():
        raise ConfigError(
            f"output folder {out}", required="a folder, or nothing yet", found="a file", hint="Use another --out."
        )
    places = [out / config.run_name for config in configs]
    for place in places:
        refuse_busy(place)
    taken = [place for place in places if is_taken(place)]
    if taken and existing == "error":
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise ConfigError(
            f"run directory {taken[0]}{more}",
            required="a directory that does not exist yet",
            found="an existing one",
            hint="Use another --out, or --existing reuse to continue, or --existing replace to start again.",
        )


def print_tables(runs: Sequence[RunFile], console: Console) -> None:
    """The table(s) of some runs."""
    for table in to_rich(runs):
        console.print(table)


def report(paths: Sequence[Path], out: Path, console: Console, *, overwrite: bool = False) -> Path:
    """Write the HTML report of the runs found in `paths` to the file `out`.

    Raises:
        ConfigError: the file exists and is not to be replaced.
    """
    if out.exists() and not overwrite:
        raise ConfigError(
            f"report {out}",
            required="a file that does not exist yet",
            found="an existing one",
            hint="Use another --out, or --overwrite.",
        )
    folders = [path for path in paths if path.is_dir()]
    bare = [path for path in paths if path in folders and read_targets(path) and not any(path.rglob(FILE_NAME))]
    # tables that no run was needed for leave a folder without any
    runs = find_runs([path for path in paths if path not in bare]) if len(bare) < len(paths) else []
    path = write_report(runs, out, folders=folders)
    console.print(Text(f"report: {path.resolve()}"), soft_wrap=True)
    return path


def print_info(info: Info, console: Console) -> None:
    """Sizes as a table."""
    table = Table(title=f"depth {info.depth}, {info.tasks} tasks of {info.classes} classes, {info.image_size} pixels")
    table.add_column("")
    table.add_column("parameters", justify="right")
    table.add_column("kept between tasks", justify="right")
    table.add_row("trunk (frozen, shared)", f"{info.trunk_parameters:,}", "")
    table.add_row("tail (one task)", f"{info.tail_parameters:,}", "")
    table.add_row("hypernetwork", f"{info.hypernetwork_parameters:,}", human_bytes(info.hypernetwork_bytes))
    table.add_row("normalisation statistics, all tasks", "", human_bytes(info.statistics_bytes))
    table.add_row("instead: one stored tail per task", "", human_bytes(info.separate_bytes))
    shape = "×".join(map(str, info.exemplar_shape))
    table.add_row(f"instead: {info.buffer} replay exemplars of {shape}", "", human_bytes(info.buffer_bytes))
    console.print(table)


def quickstart(out: Path, epochs: int, seeds: Sequence[int], console: Console, line: str) -> Path:
    """Compare naive, EWC, LR-2, HN-2, HN-F and separate tails on `digits`; print and return the report's path."""
    base = RunConfig(stream="digits", strategy="naive", epochs=epochs)
    configs = expand(QUICKSTART, (), seeds, base)
    console.print("Five tasks of two handwritten digits each, learned one after another by six strategies.\n")
    runs = run_all(configs, out, console, existing="replace", line=line)
    print_tables(runs, console)
    path = write_report(runs, out / "report.html")
    console.print(Text(f"\nreport with pictures: {path.resolve()}"), soft_wrap=True)
    return path
