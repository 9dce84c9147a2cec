"""Run configurations one after another: the one way that every command takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypertail.errors import ConfigError, TrainingError
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.directories import is_taken, refuse_busy
from hypertail.lab.experiments.listener import SILENT, Listener
from hypertail.lab.experiments.place import Place, stream_of
from hypertail.lab.experiments.precisions import Precisions
from hypertail.lab.experiments.run import Existing, execute
from hypertail.lab.records.runfile import FILE_NAME, RunFile
from hypertail.streams import Stream


@dataclass(frozen=True)
class Job:
    """One run to do.

    Attributes:
        config: what to run.
        directory: of the run.
        title: as progress shows it.
        existing: what to do where the directory exists, see `execute`.
        trunks: folder of the trunks that runs share; None for `trunks` beside the directory.
        precisions: what `auto` is to mean in place of the rule.
    """

    config: RunConfig
    directory: Path
    title: str
    existing: Existing = "reuse"
    trunks: Path | None = None
    precisions: Precisions | None = None

    @property
    def is_finished(self) -> bool:
        """Whether its result is there."""
        return (self.directory / FILE_NAME).is_file()


class Runner:
    """Does jobs one after another in this process, and keeps what they have in common: streams and features.

    Args:
        place: where and how.
        listener: hears of each.
        load: from a configuration to its stream, if streams are already loaded.
    """

    def __init__(
        self,
        place: Place = Place(),  # noqa: B008 -- immutable
        listener: Listener = SILENT,
        load: Callable[[RunConfig], Stream] | None = None,
    ) -> None:
        self.place, self.listener = place.settle(), listener
        self._load = load or (lambda config: stream_of(config, self.place.data))
        self._shared = self.place.shared_features()
        self._streams: dict[tuple[Any, ...], Stream] = {}

    def stream(self, config: RunConfig) -> Stream:
        """The stream of a configuration; the last one is kept.

        Raises:
            DataError: the data is missing or unusable.
        """
        key = _stream_key(config)
        if key not in self._streams:
            self._streams = {}
            stream = self._load(config)
            self._streams[key] = stream
            self.listener.loaded(stream)
        return self._streams[key]

    def run(self, jobs: Iterable[Job], *, keep_going: bool = False) -> list[RunFile]:
        """Do the jobs, which may be thought of one by one as results come in.

        Args:
            jobs: in their order.
            keep_going: go on after a run whose training failed; the listener is told, and it has no result.

        Raises:
            HypertailError: from the first run that fails; finished ones stay.
        """
        total = len(jobs) if isinstance(jobs, Sized) else None
        runs = []
        for number, job in enumerate(jobs, start=1):
            reused = job.existing == "reuse" and job.is_finished
            self.listener.started(job, number, total)
            try:
                run = execute(
                    job.config,
                    job.directory,
                    self.place,
                    existing=job.existing,
                    trunks=job.trunks,
                    stream=lambda job=job: self.stream(job.config),  # type: ignore[misc]
                    shared=self._shared,
                    precisions=job.precisions,
                    listener=self.listener,
                )
            except TrainingError as error:
                if not keep_going:
                    raise
                self.listener.failed(job, error)
                continue
            self.listener.finished(job, run, reused=reused)
            runs.append(run)
        return runs


def run_batch(
    jobs: Sequence[Job],
    place: Place = Place(),  # noqa: B008 -- immutable
    listener: Listener = SILENT,
) -> list[RunFile]:
    """Do jobs one after another in this process; streams and features that they have in common are kept.

    Raises:
        ConfigError: before any training, if a folder of runs is no folder, another process works in a run directory, or
            one exists where a job asks for an error.
        HypertailError: from the first run that fails; finished ones stay.
    """
    check_places(jobs)
    return Runner(place, listener).run(jobs)


def check_places(jobs: Sequence[Job]) -> None:
    """Find out before the first run, not hours later, that a later one has no place.

    Raises:
        ConfigError: as `run_batch` says.
    """
    for folder in dict.fromkeys(job.directory.parent for job in jobs):
        check_folder(folder)
    for job in jobs:
        refuse_busy(job.directory)
    taken = [job.directory for job in jobs if job.existing == "error" and is_taken(job.directory)]
    if taken:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise ConfigError(
            f"run directory {taken[0]}{more}",
            required="a directory that does not exist yet",
            found="an existing one",
            hint="Use another --out, or --existing reuse to continue, or --existing replace to start again.",
        )


def check_folder(folder: Path) -> None:
    """Refuse a folder of runs that is a file.

    Raises:
        ConfigError: it is one.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(
            f"output folder {folder}", required="a folder, or nothing yet", found="a file", hint="Use another --out."
        )


def _stream_key(config: RunConfig) -> tuple[Any, ...]:
    """What decides the stream, so that runs on the same one share it."""
    return (
        config.stream,
        config.seed,
        config.experiences,
        config.validation,
        config.image_size,
        config.classes_per_experience,
        config.images_per_class,
        config.augment,
    )
