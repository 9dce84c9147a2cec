"""Finished runs, wherever they lie, and the making of those that are missing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.text import Text

from hypertail.errors import ConfigError, DataError, HypertailError
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.dataplace import USUAL, DataPlace, stream_of
from hypertail.lab.experiments.progress import RunProgress
from hypertail.lab.experiments.readings import Readings
from hypertail.lab.experiments.run import execute, shared_features
from hypertail.lab.records.runfile import FILE_NAME, RunFile
from hypertail.lab.reproduce.target import FinishedRun, matching
from hypertail.recipes.method import settled
from hypertail.recipes.presets import preset
from hypertail.streams import Stream
from hypertail.training.batches import batch_sizes
from hypertail.training.features.shared import SharedFeatures
from hypertail.training.precision import Speed


def options_of(run: RunFile) -> RunConfig:
    """The options of a finished run. What it did before there was an option counts as the usual value, if that would
    have changed nothing: tasks of at least `reference_steps` steps learn as they did.

    Raises:
        ConfigError: it has options that this version does not know.
    """
    config = RunConfig.from_json(run.config)
    if "reference_steps" in run.config.get("method", {}):
        return config
    usual = replace(config, method=replace(config.method, reference_steps=None))
    steps = min(config.epochs * len(batch_sizes(task.train, config.batch_size)) for task in run.tasks)
    return usual if steps >= settled(usual.settled().method.reference_steps) else config


@dataclass(frozen=True)
class Library:
    """Finished runs to choose from; `unread` are files that are no runs of this version, with the reason."""

    runs: tuple[FinishedRun, ...]
    unread: tuple[str, ...] = ()

    @classmethod
    def of(cls, folders: Iterable[Path]) -> Library:
        """All runs in folders and below, in the order of the folders; a run found twice counts once.

        Raises:
            DataError: a folder does not exist.
        """
        runs: dict[Path, FinishedRun] = {}
        unread: list[str] = []
        for folder in folders:
            if not folder.exists():
                raise DataError(
                    f"folder of runs '{folder}'",
                    required="a folder with finished runs",
                    found="nothing there",
                    hint="Check --from.",
                )
            for file in sorted(folder.rglob(FILE_NAME)) if folder.is_dir() else [folder]:
                if file.resolve() in runs:
                    continue
                try:
                    run = RunFile.read(file)
                    runs[file.resolve()] = FinishedRun(run, options_of(run), file.parent)
                except HypertailError as error:
                    unread.append(f"{file}: {error}")
        return cls(tuple(runs.values()), tuple(unread))

    def finished(self, configs: Sequence[RunConfig]) -> tuple[FinishedRun, ...]:
        """Those of the runs that are runs of `configs`, in their order; what is missing is left out."""
        return matching(self.runs, configs)

    def missing(self, configs: Sequence[RunConfig]) -> list[RunConfig]:
        """Those of `configs` that no run stands for; one for each identity, the one that records most."""
        return [config for config in distinct(configs) if not self.finished((config,))]

    def with_run(self, run: FinishedRun) -> Library:
        """The library and one more."""
        return Library((*self.runs, run), self.unread)


def distinct(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """One configuration for each run that is needed: of two with the same identity one that records what both do.

    Two that record different things, neither of them all, stay two.
    """
    kept: list[tuple[RunConfig, dict[str, Any]]] = []
    for config in dict.fromkeys(configs):
        same = config.identity()
        if any(other.records(config) for other, identity in kept if identity == same):
            continue
        kept = [(other, identity) for other, identity in kept if not (identity == same and config.records(other))]
        kept.append((config, same))
    return [config for config, _ in kept]


def directory_name(config: RunConfig) -> str:
    """`split-cifar100-hn-3-tuned-e10-seed0-1f2e3d4c`: readable, and another one for every other configuration."""
    facts = [config.identity(), config.eval_every, config.method.record_cosine]
    digest = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=4).hexdigest()
    return f"{config.run_name}-{digest}"


_OF_THE_SCALE = ("trunk_epochs", "fisher_samples")


def described(config: RunConfig) -> str:
    """`HN-3`, or `HN-3 (lookahead first, rank 32)` where switches of a hypernetwork differ from those of the preset."""
    usual = preset(config.preset).at(config.depth)
    # a switch without effect on either side tells nothing
    effective = vars(usual) | replace(config, method=usual).identity()
    differs = {name: value for name, value in config.identity().items() if value != effective[name]}
    names = [name for name in differs if name not in _OF_THE_SCALE] if config.strategy == "hn" else []
    words = ", ".join(f"{name.replace('_', '-')} {str(differs[name]).lower()}" for name in names)
    return f"{config.label} ({words})" if words else config.label


def run_missing(
    configs: Sequence[RunConfig],
    folder: Path,
    console: Console,
    *,
    data: DataPlace = USUAL,
    device: torch.device | str = "cpu",
    speed: Speed = "auto",
    line: str = "",
    shared: SharedFeatures | None = None,
    readings: Readings | None = None,
    on_finished: Callable[[FinishedRun], None] = lambda run: None,
) -> None:
    """Make runs one after another, each in a directory of its own below `folder`; one begun before is continued.

    Args:
        configs: what to run.
        folder: of the run directories; trunks are kept in it, too.
        console: where progress is shown.
        data: where datasets lie and how they are read.
        device: where to train.
        speed: precision of the steps, as `execute` takes it.
        line: the command, recorded in every run.
        shared: features that these runs may have in common with earlier ones.
        readings: shows what was read of the data, and has shown what earlier runs read.
        on_finished: told of each run.

    Raises:
        ConfigError: `folder` is a file.
        HypertailError: from the first run that fails; finished ones stay.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(
            f"folder of runs {folder}", required="a folder, or nothing yet", found="a file", hint="Use another --out."
        )

    readings = readings or Readings(console)

    @lru_cache(maxsize=1)
    def load(config: RunConfig) -> Stream:
        return readings.show(stream_of(config, data))

    shared = shared or shared_features(device)
    with RunProgress(console) as progress:
        for number, config in enumerate(configs, start=1):
            title = f"{described(config)} on {config.stream}, seed {config.seed}"
            progress.start(f"{title} ({number}/{len(configs)})")
            run = execute(
                config,
                folder,
                name=directory_name(config),
                stream=lambda config=config: load(_of_stream(config)),  # type: ignore[misc]
                device=device,
                existing="reuse",
                shared=shared,
                speed=speed,
                command=line,
                progress=progress,
                on_notice=lambda text, title=title: console.print(Text(f"{title}: {text}"), soft_wrap=True),  # type: ignore[misc]
            )
            aca = 100 * (run.metrics["aca"] or 0)
            console.print(Text(f"{title}: ACA {aca:.1f} %, {run.seconds:.0f} s"), soft_wrap=True)
            on_finished(FinishedRun(run, config, folder / directory_name(config)))


def _of_stream(config: RunConfig) -> RunConfig:
    """What decides the stream, so that runs on the same one share it."""
    return RunConfig(
        stream=config.stream,
        strategy="naive",
        seed=config.seed,
        experiences=config.experiences,
        validation=config.validation,
        image_size=config.image_size,
        classes_per_experience=config.classes_per_experience,
        images_per_class=config.images_per_class,
    )
