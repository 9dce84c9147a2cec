"""Execute one configuration and leave its `run.json`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from hypertail.errors import ConfigError
from hypertail.lab.build import build_model, build_strategy
from hypertail.lab.config import RunConfig
from hypertail.lab.directories import CHECKPOINT, OPTIONS, claimed, is_taken, refuse_busy
from hypertail.lab.environment import free_memory, hardware, versions
from hypertail.lab.runfile import FILE_NAME, Curve, RunFile, TaskInfo, accuracy_rows
from hypertail.lab.trunks import TrainedTrunk, known_precision, trained_trunk
from hypertail.nets import decompose
from hypertail.storage.atomic import write_text
from hypertail.storage.checkpoint import DamagedCheckpointError
from hypertail.storage.jsonfile import read_json
from hypertail.strategies import PartialHypernet, Strategy
from hypertail.streams import Stream, build_stream
from hypertail.training.features import FeatureCache, warn
from hypertail.training.precision import Precision, Speed, choose_precision
from hypertail.training.shared import SharedFeatures
from hypertail.training.trainer import Progress, Result, Trainer, silent

Existing = Literal["error", "reuse", "replace"]


def stream_of(config: RunConfig, data: Path | None = None) -> Stream:
    """The stream of a configuration."""
    return build_stream(
        config.stream,
        seed=config.seed,
        data=data,
        validation=config.validation,
        image_size=config.image_size,
        experiences=config.experiences,
        classes_per_experience=config.classes_per_experience,
    )


def execute(
    config: RunConfig,
    out: Path,
    *,
    name: str | None = None,
    stream: Callable[[], Stream] | None = None,
    data: Path | None = None,
    device: torch.device | str = "cpu",
    existing: Existing = "error",
    cache_bytes: int | None = None,
    shared: SharedFeatures | None = None,
    speed: Speed = "auto",
    command: str = "",
    progress: Progress = silent,
    on_notice: Callable[[str], None] = warn,
) -> RunFile:
    """Run `config` in the directory `out / name` and return what its `run.json` holds.

    Args:
        config: what to run.
        out: folder of run directories.
        name: of this run's directory; None for `config.run_name`.
        stream: gives the stream, if it is at hand already.
        data: root of local datasets.
        device: where to train.
        existing: what to do where the directory exists: stop with an `error`; `reuse` a finished run, and continue an
            unfinished one after its last experience; or `replace` it.
        cache_bytes: memory for cached inputs; None for a share of what is free.
        shared: features that runs on the same trunk have in common (`shared_features`); None to share nothing.
        speed: precision of the forward passes while training: `full`, `mixed`, or `auto` for the faster one here.
        command: recorded in the file.
        progress: shown to the user.
        on_notice: told what the user should know, such as inputs that do not fit the memory.

    Raises:
        ConfigError: the directory exists, belongs to a run with other options, or another process works in it.
        CheckpointError: a trunk or a checkpoint is damaged, or cannot be written.
    """
    directory = out / (name or config.run_name)
    started = datetime.now(UTC)
    refuse_busy(directory)
    if (finished := _finished(config, directory, existing)) is not None:
        return finished
    with claimed(directory) as claim:
        # once more: another process may have done it meanwhile
        if (finished := _finished(config, directory, existing)) is not None:
            return finished
        device = torch.device(device)
        learned = stream() if stream is not None else stream_of(config, data)
        whole = precision_of(replace(config, depth=None, strategy="naive"), learned, speed, device)
        trunk_seconds, trunk = 0.0, None
        if config.depth and config.method.trunk_training == "alone":
            if speed == "auto":
                # runs that are compared share a trunk, whichever precision was faster at the time
                whole = known_precision(config, learned, out / "trunks") or whole
            trunk, trunk_seconds = _trunk(config, learned, out / "trunks", device, whole, progress)
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
                precision=whole,
                shared=None if trains_trunk else shared,
                on_notice=on_notice,
            ),
            device=device,
            precision=precision_of(config, learned, speed, device) if config.depth else whole,
            split=config.measure_on,
            eval_every=config.eval_every,
            checkpoint=directory / CHECKPOINT,
            progress=progress,
        )
        if existing == "replace":
            claim.clear()
        write_options(config, directory)
        result = trainer.run(resume=existing == "reuse")
        run = _run_file(
            config,
            learned,
            strategy,
            result,
            trunk_seconds,
            trainer.precision,
            trainer.cache.precision,
            device,
            command,
            started.isoformat(timespec="seconds"),
        )
        run.write(directory / FILE_NAME, overwrite=existing != "error")
        return run


def _finished(config: RunConfig, directory: Path, existing: Existing) -> RunFile | None:
    """The finished run in `directory`, if there is one to reuse."""
    if not is_taken(directory) or existing == "replace":
        return None
    if existing == "error":
        raise ConfigError(
            f"run directory {directory}",
            required="a directory that does not exist yet",
            found="an existing one",
            mend="Use another --out, or --existing reuse to continue, or --existing replace to start again.",
        )
    options = directory / OPTIONS
    known = read_options(options) if options.is_file() else None
    if known is None or known.identity() != config.identity() or not known.records(config):
        raise ConfigError(
            f"run directory {directory}",
            required="a run with the same options, to reuse it",
            found="a run with other options, or none",
            mend="Use another --out, or --existing replace to start again.",
        )
    return RunFile.read(directory / FILE_NAME) if (directory / FILE_NAME).is_file() else None


def read_options(path: Path) -> RunConfig:
    """The configuration in a run directory's `config.json`.

    Raises:
        ConfigError: it is damaged, or has options that this version does not know.
    """
    try:
        return RunConfig.from_json(read_json(path))
    except (ConfigError, ValueError, TypeError, OSError) as error:
        raise ConfigError(
            f"options of a run, {path}",
            required="those that hypertail writes, as JSON",
            found=f"others ({error})",
            mend="Use another --out, or --existing replace to start again.",
        ) from error


def write_options(config: RunConfig, directory: Path) -> None:
    """Write the `config.json` of a run directory."""
    write_text(directory / OPTIONS, json.dumps(config.to_json(), indent=1) + "\n")


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
            mend="Delete that file to train the trunk again: nothing else is lost with it.",
        ) from error


def precision_of(config: RunConfig, stream: Stream, speed: Speed, device: torch.device) -> Precision:
    """The precision of a run's steps: what `speed` says, tried on the part of the model that learns."""
    if config.method.per_sample:
        # one weight set per sample repeats the authors' steps, at the authors' precision
        return "full"
    model = build_model(config, stream, stream.max_classes, "model")
    trunk, tail = decompose(model, config.depth or 0)

    @torch.no_grad()
    def features() -> Tensor:
        images = torch.zeros(config.batch_size, *stream.image_shape).contiguous(memory_format=torch.channels_last)
        made: Tensor = trunk(images)
        return made

    return choose_precision(speed, tail, features, device)


def shared_features(device: torch.device | str) -> SharedFeatures:
    """For several runs in this process: a part of the memory that is free."""
    return SharedFeatures(free_bytes(torch.device(device)) // 3)


def free_bytes(device: torch.device) -> int:
    """Memory that is free now on the device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return free_memory()


def _run_file(
    config: RunConfig,
    stream: Stream,
    strategy: Strategy,
    result: Result,
    trunk_seconds: float,
    precision: Precision,
    features: Precision,
    device: torch.device,
    command: str,
    started: str,
) -> RunFile:
    parts = strategy.memory()
    extra: dict[str, Any] = {"precision": precision, "precision_of_features": features}
    if recorded := strategy.diagnostics():
        extra["diagnostics"] = recorded
    phases = {"trunk": trunk_seconds, **result.seconds}
    hypernetwork = tail = trunk = None
    if isinstance(strategy, PartialHypernet):
        hypernetwork = sum(parameter.numel() for parameter in strategy.hyper.parameters())
        tail = sum(parameter.numel() for parameter in strategy.net.tail.parameters())
        trunk = sum(parameter.numel() for parameter in strategy.trunk.module.parameters())
    parameters = {} if tail is None or trunk is None else {"trunk": trunk, "tail": tail}
    return RunFile(
        stream=config.stream,
        strategy=config.strategy,
        depth=config.depth_name,
        label=config.label,
        preset=config.preset,
        seed=config.seed,
        epochs=config.epochs,
        config=config.settled().to_json(),
        tasks=tuple(
            TaskInfo(experience.name, experience.classes, len(experience.train), len(experience.test))
            for experience in stream
        ),
        accuracy=accuracy_rows(np.asarray(result.accuracy)),
        seconds=sum(phases.values()),
        seconds_by_phase=phases,
        seconds_per_experience=tuple(result.seconds_per_experience),
        bytes_kept=sum(parts.values()),
        bytes_kept_parts=parts,
        bytes_per_experience=tuple(result.bytes_per_experience),
        hypernetwork_parameters=hypernetwork,
        parameters=parameters,
        curves=tuple(Curve(c["task"], c["epoch"], tuple(c["accuracy"])) for c in result.curves),
        versions=versions(),
        hardware=hardware(device),
        command=command,
        started=started,
        extra=extra,
    )
