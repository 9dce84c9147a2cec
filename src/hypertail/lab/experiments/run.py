"""Execute one configuration and leave its `run.json`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from hypertail.errors import ConfigError
from hypertail.lab.experiments.backbones import pretrained_trunk
from hypertail.lab.experiments.begun import Begun, read_begun
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.describe import differences
from hypertail.lab.experiments.directories import (
    CHECKPOINT,
    OPTIONS,
    TRAINED,
    TRUNK,
    claimed,
    has_state,
    is_taken,
    refuse_busy,
    tidy,
)
from hypertail.lab.experiments.listener import SILENT, Listener
from hypertail.lab.experiments.outcome import run_file
from hypertail.lab.experiments.place import Place, stream_of
from hypertail.lab.experiments.precisions import Precisions, precisions_of, told_precisions
from hypertail.lab.experiments.trunks import TrainedTrunk, is_trained, trained_trunk, untrained_trunk
from hypertail.lab.records.datarecord import DataRecord
from hypertail.lab.records.runfile import FILE_NAME, RunFile
from hypertail.recipes.build import build_strategy
from hypertail.storage.checkpoint import DamagedCheckpointError
from hypertail.strategies import Strategy
from hypertail.streams import Stream
from hypertail.training.class_incremental import class_incremental
from hypertail.training.features.cache import FeatureCache
from hypertail.training.features.shared import SharedFeatures
from hypertail.training.precision import Speed
from hypertail.training.trainer import Trainer

Existing = Literal["error", "reuse", "replace"]


def execute(
    config: RunConfig,
    directory: Path,
    place: Place = Place(),  # noqa: B008 -- immutable
    *,
    existing: Existing = "error",
    trunks: Path | None = None,
    stream: Callable[[], Stream] | None = None,
    shared: SharedFeatures | None = None,
    precisions: Precisions | None = None,
    listener: Listener = SILENT,
) -> RunFile:
    """Run `config` in a directory of its own and return what its `run.json` holds.

    The directory is claimed before anything is loaded or trained, so that two processes never work in one.

    Args:
        config: what to run.
        directory: of this run.
        place: where and how, the same for all runs that are compared.
        existing: what to do where the directory exists: stop with an `error`; `reuse` a finished run, and continue an
            unfinished one where it was; or `replace` it.
        trunks: folder of the trunks that runs share; None for that in which an unfinished run began, or else `trunks`
            beside the directory.
        stream: gives the stream, if it is already loaded.
        shared: features that runs on the same trunk have in common (`Place.shared_features`); None to share nothing.
        precisions: what `auto` is to mean in place of the rule.
        listener: hears of progress and notices.

    Raises:
        ConfigError: the directory exists, belongs to a run with other options, another precision or other data, or
            another process works in it.
        CheckpointError: a trunk or a checkpoint is damaged, or cannot be written.
    """
    place = place.settle()
    speed, device = place.speed, torch.device(place.device)
    started = datetime.now(UTC)
    load = cache(stream or partial(stream_of, config, place.data))
    refuse_busy(directory)
    # a finished run is read without a claim; what is refused for being there is not touched
    if existing == "error" or (existing == "reuse" and (directory / FILE_NAME).is_file()):
        finished = _begun(config, directory, existing, speed, load)
        if finished is not None:
            tidy(directory)
            return RunFile.read(directory / FILE_NAME)
    with claimed(directory) as claim:
        begun = _begun(config, directory, existing, speed, load)
        if begun is not None and (directory / FILE_NAME).is_file():  # another process finished it meanwhile
            return RunFile.read(directory / FILE_NAME)
        learned, threads = load(), torch.get_num_threads()
        chosen = told_precisions(config, speed) or precisions or precisions_of(config, learned, speed, device)
        if begun is None or begun.precisions is None:  # nothing was learned yet
            begun = Begun(config, chosen, threads, DataRecord.of(learned))
        chosen = begun.precisions or chosen
        begun = replace(begun, config=config, precisions=chosen, place=place)
        begun = begun if trunks is None else begun.with_trunks(trunks, directory)
        if begun.threads not in (None, threads) and existing == "reuse" and has_state(directory):
            listener.notice(
                f"this run began with {begun.threads} CPU threads and goes on with {threads}: results may differ in "
                "the last digits from those of an uninterrupted run."
            )

        @cache
        def begin() -> None:
            if existing == "replace":
                claim.clear()
            begun.write(directory)

        make = partial(
            Trainer,
            save_every=place.checkpoint_every,
            stop=listener.stop,
            may_save=claim.check,
            notice=listener.notice,
        )
        trained: TrainedTrunk | None = None
        if config.weights is not None:
            trained = pretrained_trunk(config, learned, place.weights, device)
        elif config.depth and config.options.get("trunk_training") == "alone":
            folder = begun.trunks_of(directory) if trunks is None else trunks
            if not is_trained(config, learned, folder, chosen.trunk):
                # options that do not fit are refused before, not after, hours of training
                unlike, tail = untrained_trunk(config, learned, device)
                strategy_of(config, learned, unlike, device, tail)
                begin()
            train = partial(
                trained_trunk,
                precision=chosen.trunk,
                progress=listener.progress,
                trainer=partial(make, checkpoint=directory / TRUNK),
                scratch=directory / TRAINED,
            )
            with _trunk_explained():
                trained = train(config, learned, folder, device)
        trunk = trained.module if trained is not None else nn.Sequential() if config.depth == 0 else None
        strategy = strategy_of(config, learned, trunk, device, trained.tail if trained is not None else None)
        trains_trunk = trunk is None
        trainer = make(
            learned,
            strategy,
            epochs=config.epochs,
            first_epochs=config.options.get("trunk_epochs") if trains_trunk else None,
            batch_size=config.batch_size,
            seed=config.seed,
            cache=FeatureCache(
                seed=config.seed,
                device=device,
                views=config.options.get("views"),
                cache_bytes=place.cache_room(),
                precision=chosen.trunk,
                shared=None if trains_trunk else shared,
                on_notice=listener.notice,
            ),
            device=device,
            precision=chosen.steps,
            split=config.measure_on,
            eval_every=config.eval_every,
            checkpoint=directory / CHECKPOINT,
            progress=listener.progress,
            learned=listener.learned,
        )
        begin()
        result = trainer.run(resume=existing == "reuse")
        untold = class_incremental(learned, strategy, trainer.cache, config.measure_on)
        run = run_file(begun, learned, strategy, result, untold, trained, device, place.command, started)
        claim.check()
        claim.forget_trunk()
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
    other = [] if begun is None else differences(begun.config, config)
    if begun is None or other:
        raise ConfigError(
            f"run directory {directory}",
            required="a run with the same options, to reuse it",
            found="no run" if begun is None else f"one with other options: {', '.join(other)}",
            hint="Use another --out, or --existing replace to start again.",
        )
    told = told_precisions(config, speed)
    if told is not None and begun.precisions not in (None, told):
        assert begun.precisions is not None
        raise ConfigError(
            f"run directory {directory}",
            required=f"a run in {told.words} precision, as --speed {speed} says, to reuse it",
            found=f"one in {begun.precisions.words} precision",
            hint="Leave --speed out to go on as it began, or delete the run directory to start again.",
        )
    if begun.data is not None:
        begun.data.refuse_other(DataRecord.of(load()), f"run directory {directory}")
    return begun


@contextmanager
def _trunk_explained() -> Iterator[None]:
    """Within it, an error of a damaged trunk says what is lost with it."""
    try:
        yield
    except DamagedCheckpointError as error:
        raise DamagedCheckpointError(
            error.problem,
            required=error.required,
            found=error.found,
            hint="Delete that file to train the trunk again: nothing else is lost with it.",
        ) from error


def strategy_of(
    config: RunConfig,
    stream: Stream,
    trunk: nn.Module | None = None,
    device: torch.device | str = "cpu",
    own_tail: nn.Module | None = None,
) -> Strategy:
    """The strategy of a configuration.

    Args:
        config: of the run.
        stream: gives image channels and class counts.
        trunk: the trunk trained on e_1, or None where the strategy trains its own (or has none).
        device: where it is to learn.
        own_tail: what was trained above the trunk.

    Raises:
        ConfigError: heads that are narrower than a task.
    """
    return build_strategy(
        config.strategy,
        config.options,
        stream,
        depth=config.depth if config.recipe.has_depth else None,
        model=config.model,
        trunk=trunk,
        own_tail=own_tail,
        seed=config.seed,
        device=device,
    )
