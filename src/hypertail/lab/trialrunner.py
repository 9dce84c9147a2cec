"""Run the trials of a search: ordinary runs, each in a directory that follows from its switches."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hypertail.errors import TrainingError
from hypertail.lab.config import RunConfig
from hypertail.lab.progress import RunProgress
from hypertail.lab.run import OPTIONS, execute
from hypertail.lab.runfile import FILE_NAME
from hypertail.lab.searchspace import option, spell
from hypertail.lab.trials import FAILURE, Study
from hypertail.streams import Stream

Streams = Callable[[int], Stream]
"""From a seed to the stream of a study."""


class TrialRunner:
    """Runs the trials of a study, below one folder.

    Args:
        study: what the trials share.
        folder: of the trials' directories; their trunks are shared in `trunks` beside it.
        streams: from a seed to the stream of the study.
        device: where to train.
        cache_bytes: memory for cached inputs; None for a share of what is free.
        line: command line, recorded in each run.
    """

    def __init__(
        self,
        study: Study,
        folder: Path,
        streams: Streams,
        device: torch.device | str,
        cache_bytes: int | None,
        line: str,
    ) -> None:
        self.study, self.folder, self.streams = study, folder, streams
        self.device, self.cache_bytes, self.line = device, cache_bytes, line

    def parent(self, config: RunConfig) -> Path:
        """The folder of a trial's run directories, one per seed."""
        usual = self.study.base
        words = [f"{option(name)}-{spell(value)}" for name, value in self.switches(config).items()]
        name = "_".join(words) or "base"
        if len(name) > 150:  # names of files are limited
            name = f"{name[:130]}-{hashlib.blake2b(name.encode(), digest_size=8).hexdigest()}"
        whole = config.experiences == usual.experiences
        return self.folder / name if whole else self.folder / name / f"first-{config.experiences}"

    def switches(self, config: RunConfig) -> dict[str, Any]:
        """The switches in which a trial differs from the study's base."""
        usual = vars(self.study.base.method)
        return {name: value for name, value in vars(config.method).items() if value != usual[name]}

    def is_finished(self, config: RunConfig) -> bool:
        """Whether there is nothing left to run of this trial with its seed."""
        return (self.parent(config) / config.run_name / FILE_NAME).is_file() or self.has_failed(config)

    def has_failed(self, config: RunConfig) -> bool:
        """Whether this trial failed, with any seed: there is no point in the others."""
        others = [replace(config, seed=seed) for seed in self.study.seeds]
        return any((self.parent(other) / other.run_name / FAILURE).is_file() for other in others)

    def run(self, config: RunConfig, progress: RunProgress) -> str:
        """Run one trial with one seed, unless it is finished, and say in a few words how it went."""
        parent = self.parent(config)
        directory = parent / config.run_name
        kept = self.is_finished(config)
        self._share_trunks(parent)
        try:
            run = execute(
                config,
                parent,
                stream=lambda: self._stream(config),
                device=self.device,
                existing="reuse",
                cache_bytes=self.cache_bytes,
                command=self.line,
                progress=progress,
            )
        except TrainingError as error:
            directory.mkdir(parents=True, exist_ok=True)
            (directory / OPTIONS).write_text(json.dumps(config.to_json(), indent=1) + "\n")
            failure = {"format": "hypertail-failure", "format_version": 1, "problem": str(error)}
            (directory / FAILURE).write_text(json.dumps(failure, indent=1) + "\n")
            return f"failed: {error}"
        metrics = {name: 100 * (value or 0.0) for name, value in run.metrics.items()}
        reused = ", finished before" if kept else ""
        return (
            f"validation ACA {metrics['aca']:.1f} %, forgetting {metrics['forgetting']:.1f} points, "
            f"{run.seconds:.0f} s{reused}"
        )

    def _stream(self, config: RunConfig) -> Stream:
        stream = self.streams(config.seed)
        return stream if config.experiences is None else stream.first(config.experiences)

    def _share_trunks(self, parent: Path) -> None:
        # a run keeps trunks beside its directory; a link lets all trials find the same ones
        shared, own = self.folder.parent / "trunks", parent / "trunks"
        if own.exists() or own.is_symlink():
            return
        shared.mkdir(parents=True, exist_ok=True)
        parent.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):  # where links are not to be had, each trial trains its own
            own.symlink_to(os.path.relpath(shared, parent), target_is_directory=True)
