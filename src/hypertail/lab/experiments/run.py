"""Execute one configuration and leave its `run.json`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from hypertail.environment import free_memory
from hypertail.errors import ConfigError
from hypertail.lab.experiments.begun import Begun, read_begun
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.dataplace import USUAL, DataPlace, stream_of
from hypertail.lab.experiments.datarecord import DataRecord
from hypertail.lab.experiments.directories import CHECKPOINT, OPTIONS, claimed, is_taken, refuse_busy
from hypertail.lab.experiments.outcome import run_file
from hypertail.lab.experiments.precisions import Precisions, precisions_of, told_precisions
from hypertail.lab.experiments.trunks import TrainedTrunk, trained_trunk
from hypertail.lab.records.runfile import FILE_NAME, RunFile
from hypertail.recipes.build import build_strategy
from hypertail.storage.checkpoint import DamagedCheckpointError
from hypertail.streams import Stream
from hypertail.training.features.cache import FeatureCache, warn
from hypertail.training.features.shared import SharedFeatures
from hypertail.training.loop import Progress, silent
from hypertail.training.precision import Precision, Speed
from hypertail.training.trainer import Trainer

Existing = Literal["error", "reuse", "replace"]


def execute(
    config: RunConfig,
    out: Path,
    *,
    name: str | None = None,
    stream: Callable[[], Stream] | None = None,
    data: DataPlace = USUAL,
    device: torch.device | str = "cpu",
    existing: Existing = "error",
    cache_bytes: int | None = None,
    shared: SharedFeatures | None = None,
    speed: Speed = "auto",
    precisions: Precisions | None = None,
    command: str = "",
    progress: Progress = silent,
    on_notice: Callable[[str], None] = warn,
) -> RunFile:
    """Run `config` in the directory `out / name` and return what its `run.json` holds.

    The same configuration, data, device and number of CPU threads give the same bits, however busy the machine is.
    torch uses as many threads as it is told to (`torch.set_num_threads`); the record says how many.

    Args:
        config: what to run.
        out: folder of run directories.
        name: of this run's directory; None for `config.run_name`.
        stream: gives the stream, if it is at hand already.
        data: where datasets lie and how they are read.
        device: where to train.
        existing: what to do where the directory exists: stop with an `error`; `reuse` a finished run, and continue an
            unfinished one after its last experience; or `replace` it.
        cache_bytes: memory for cached inputs; None for a share of what is free.
        shared: features that runs on the same trunk have in common (`shared_features`); None to share nothing.
        speed: precision of the forward passes while training: `full`, `mixed`, or `auto` for the rule of
            `choose_precision`. A run that is reused keeps to the precision it began with.
        precisions: what `auto` is to mean in place of the rule.
        command: recorded in the file.
        progress: shown to the user.
        on_notice: told what the user should know, such as inputs that do not fit the memory.

    Raises:
        ConfigError: the directory exists, belongs to a run with other options, another precision or other data, or
            another process works in it.
        CheckpointError: a trunk or a checkpoint is damaged, or cannot be written.
    """
    directory = out / (name or config.run_name)
    started = datetime.now(UTC)
    load = cache(stream or partial(stream_of, config, data))
    refuse_busy(directory)
    begun = _begun(config, directory, existing, speed, load)
    if begun is not None and (directory / FILE_NAME).is_file():
        return RunFile.read(directory / FILE_NAME)
    with claimed(directory) as claim:
        # once more: another process may have done it meanwhile
        begun = _begun(config, directory, existing, speed, load)
        if begun is not None and (directory / FILE_NAME).is_file():
            return RunFile.read(directory / FILE_NAME)
        device, learned, threads = torch.device(device), load(), torch.get_num_threads()
        chosen = told_precisions(config, speed) or precisions or precisions_of(config, learned, speed, device)
        if begun is None or begun.precisions is None:  # nothing was learned yet
            begun = Begun(config, chosen, threads, DataRecord.of(learned))
        chosen = begun.precisions or chosen
        if begun.threads not in (None, threads) and (directory / CHECKPOINT).is_file() and existing == "reuse":
            on_notice(
                f"this run began with {begun.threads} CPU threads and goes on with {threads}: results may differ in "
                "the last digits from those of an uninterrupted run."
            )
        trunk_seconds, trunk = 0.0, None
        if config.depth and config.method.trunk_training == "alone":
            trunk, trunk_seconds = _trunk(config, learned, out / "trunks", device, chosen.trunk, progress)
        elif config.depth == 0:
            trunk = nn.Sequential()
        strategy = build_strategy(config, learned, trunk, device)
        trains_trunk = trunk is None
        trainer = Trainer(
            learned,
            strategy,
            epochs=config.epochs,
            first_epochs=config.method.trunk_epochs if trains_trunk else None,
            batch_size=config.batch_size,
            seed=config.seed,
            cache=FeatureCache(
                seed=config.seed,
                device=device,
                views=config.views,
                cache_bytes=free_bytes(device) // 4 if cache_bytes is None else cache_bytes,
                precision=chosen.trunk,
                shared=None if trains_trunk else shared,
                on_notice=on_notice,
            ),
            device=device,
            precision=chosen.steps,
            split=config.measure_on,
            eval_every=config.eval_every,
            checkpoint=directory / CHECKPOINT,
            progress=progress,
        )
        if existing == "replace":
            claim.clear()
        begun = replace(begun, config=config, precisions=chosen)
        begun.write(directory)
        result = trainer.run(resume=existing == "reuse")
        run = run_file(begun, learned, strategy, result, trunk_seconds, device, command, started)
        run.write(directory / FILE_NAME, overwrite=existing != "error")
        return run


def _begun(
    config: RunConfig, directory: Path, existing: Existing, speed: Speed, load: Callable[[], Stream]
) -> Begun | None:
    """The run in `directory` that is to be reused; None where there is none."""
    if not is_taken(directory) or existing == "replace":
        return None
    if existing == "error":
        raise ConfigError(
            f"run directory {directory}",
            required="a directory that does not exist yet",
            found="an existing one",
            hint="Use another --out, or --existing reuse to continue, or --existing replace to start again.",
        )
    begun = read_begun(directory) if (directory / OPTIONS).is_file() else None
    if begun is None or begun.config.identity() != config.identity() or not begun.config.records(config):
        raise ConfigError(
            f"run directory {directory}",
            required="a run with the same options, to reuse it",
            found="a run with other options, or none",
            hint="Use another --out, or --existing replace to start again.",
        )
    told = told_precisions(config, speed)
    if told is not None and begun.precisions not in (None, told):
        assert begun.precisions is not None
        raise ConfigError(
            f"run directory {directory}",
            required=f"a run in {told.words} precision, as --speed {speed} says, to reuse it",
            found=f"one in {begun.precisions.words} precision",
            hint="Leave --speed out to go on as it began, use another --out, or --existing replace to start again.",
        )
    if begun.data is not None:
        begun.data.refuse_other(DataRecord.of(load()), f"run directory {directory}")
    return begun


def _trunk(
    config: RunConfig, stream: Stream, folder: Path, device: torch.device, precision: Precision, progress: Progress
) -> TrainedTrunk:
    try:
        return trained_trunk(config, stream, folder, device, precision, progress)
    except DamagedCheckpointError as error:
        raise DamagedCheckpointError(
            error.problem,
            required=error.required,
            found=error.found,
            hint="Delete that file to train the trunk again: nothing else is lost with it.",
        ) from error


def shared_features(device: torch.device | str) -> SharedFeatures:
    """For several runs in this process: a part of the memory that is free."""
    return SharedFeatures(free_bytes(torch.device(device)) // 3)


def free_bytes(device: torch.device) -> int:
    """Memory that is free now on the device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return free_memory()
