"""Run the trials of a search: ordinary runs, each in a directory that follows from its switches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from hypertail.errors import TrainingError
from hypertail.lab.experiments.begun import Begun
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.directories import FAILURE, OPTIONS
from hypertail.lab.experiments.precisions import Precisions
from hypertail.lab.experiments.progress import RunProgress
from hypertail.lab.experiments.run import execute, shared_features
from hypertail.lab.records.runfile import FILE_NAME
from hypertail.lab.tuning.searchspace import option, spell
from hypertail.lab.tuning.trials import Study
from hypertail.storage.atomic import write_text
from hypertail.streams import Stream
from hypertail.training.precision import Speed

Streams = Callable[[int], Stream]
"""From a seed to the stream of a study."""


class TrialRunner:
    """Runs the trials of a study, below one folder.

    Args:
        study: what the trials share.
        folder: of the trials' directories, and of the trunks that they share.
        streams: from a seed to the stream of the study.
        device: where to train.
        cache_bytes: memory for cached inputs; None for a share of what is free.
        speed: precision of the forward passes while training.
        precisions: those of earlier trials, which `auto` is to mean; None for the rule.
        line: command line, recorded in each run.
    """

    def __init__(
        self,
        study: Study,
        folder: Path,
        streams: Streams,
        *,
        device: torch.device | str = "cpu",
        cache_bytes: int | None = None,
        speed: Speed = "auto",
        precisions: Precisions | None = None,
        line: str = "",
    ) -> None:
        self.study, self.folder, self.streams = study, folder, streams
        self.device, self.cache_bytes, self.line = device, cache_bytes, line
        self.speed, self.precisions = speed, precisions
        self.shared = shared_features(device)
        self._part = lru_cache(maxsize=1)(self._part_of)  # whose digest is counted once for all trials

    def directory(self, config: RunConfig) -> Path:
        """The run directory of a trial with its seed, within a folder named after the switches."""
        usual = self.study.base
        words = [f"{option(name)}-{spell(value)}" for name, value in self.switches(config).items()]
        name = "_".join(words) or "base"
        if len(name) > 150:  # names of files are limited
            name = f"{name[:130]}-{hashlib.blake2b(name.encode(), digest_size=8).hexdigest()}"
        whole = config.experiences == usual.experiences
        return self.folder / name / ("" if whole else f"first-{config.experiences}") / config.run_name

    def switches(self, config: RunConfig) -> dict[str, Any]:
        """The switches in which a trial differs from the study's base."""
        usual = vars(self.study.base.method)
        return {name: value for name, value in vars(config.method).items() if value != usual[name]}

    def is_finished(self, config: RunConfig) -> bool:
        """Whether there is nothing left to run of this trial with its seed."""
        return (self.directory(config) / FILE_NAME).is_file() or self.has_failed(config)

    def has_failed(self, config: RunConfig) -> bool:
        """Whether this trial failed, with any seed: there is no point in the others."""
        others = [replace(config, seed=seed) for seed in self.study.seeds]
        return any((self.directory(other) / FAILURE).is_file() for other in others)

    def run(self, config: RunConfig, progress: RunProgress, on_notice: Callable[[str], None]) -> str:
        """Run one trial with one seed, unless it is finished, and say in a few words how it went."""
        directory = self.directory(config)
        kept = self.is_finished(config)
        try:
            run = execute(
                config,
                self.folder,
                name=str(directory.relative_to(self.folder)),
                stream=lambda: self._stream(config),
                device=self.device,
                existing="reuse",
                cache_bytes=self.cache_bytes,
                shared=self.shared,
                speed=self.speed,
                precisions=self.precisions,
                command=self.line,
                progress=progress,
                on_notice=on_notice,
            )
        except TrainingError as error:
            if not (directory / OPTIONS).is_file():
                Begun(config).write(directory)
            failure = {"format": "hypertail-failure", "format_version": 1, "problem": str(error)}
            write_text(directory / FAILURE, json.dumps(failure, indent=1) + "\n")
            return f"failed: {error}"
        metrics = {name: 100 * (value or 0.0) for name, value in run.metrics.items()}
        reused = ", finished before" if kept else ""
        return (
            f"validation ACA {metrics['aca']:.1f} %, forgetting {metrics['forgetting']:.1f} points, "
            f"{run.seconds:.0f} s{reused}"
        )

    def _stream(self, config: RunConfig) -> Stream:
        return self._part(config.seed, config.experiences)

    def _part_of(self, seed: int, experiences: int | None) -> Stream:
        stream = self.streams(seed)
        return stream if experiences is None else stream.first(experiences)
