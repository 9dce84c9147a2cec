"""The trunk trained alone on e_1, shared by all strategies and depths of a comparison."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from hypertail.lab.experiments.config import RunConfig
from hypertail.nets import decompose
from hypertail.nets.models import USUAL
from hypertail.nets.standardise import Restore, Standardise
from hypertail.recipes.build import build_model
from hypertail.recipes.shared import FirstExperience, FrozenTrunk, Optimiser
from hypertail.storage.atomic import move
from hypertail.storage.checkpoint import load_checkpoint, save_checkpoint
from hypertail.strategies import Naive, Optimisation
from hypertail.streams import Stream
from hypertail.training.features.shared import digest_of_trunk
from hypertail.training.loop import Progress, silent
from hypertail.training.precision import Precision
from hypertail.training.pretrain import standardised, train_body
from hypertail.training.trainer import Trainer


class TrainedTrunk(NamedTuple):
    """A trunk, the seconds it took to train, possibly in an earlier run, and the tail that was trained with it.

    The tail takes what the trunk gives, standardised or not, and has no classifier: it gives vectors. The digest is of
    both together, whatever the depth: training again on other hardware ends with other bits.
    """

    module: nn.Module
    seconds: float
    tail: nn.Module
    digest: str


def trained_trunk(
    config: RunConfig,
    stream: Stream,
    directory: Path,
    device: torch.device,
    precision: Precision = "full",
    progress: Progress = silent,
    trainer: Callable[..., Trainer] = Trainer,
    scratch: Path | None = None,
) -> TrainedTrunk:
    """The trunk of `config`: a plain model trained on e_1, cut at the depth, features standardised if asked for.

    The trained model is kept in `directory` under a name that follows from everything it depends on, data included, so
    that strategies are compared on the same trunk and it is trained once.

    Args:
        config: of the run.
        stream: on whose first experience it is trained.
        directory: of the trunks.
        device: where it is trained.
        precision: of the forward passes.
        progress: shown to the user.
        trainer: makes what trains it; one with a checkpoint goes on from that.
        scratch: a file of this process alone that the trunk may be written to before it goes to `directory`, where
            other processes work and nobody could tell what a killed one left half written.
    """
    started = time.perf_counter()
    options, naive = config.options[FrozenTrunk], _untrained(config, stream, device)
    body = naive.model.body
    path = _path(config, stream, directory, precision)
    if path.is_file():
        state, facts = load_checkpoint(path, str(device))
        body.load_state_dict(state)
        seconds = float(facts["seconds"])
    else:
        rotations, epochs = options.trunk_rotations, _epochs(config)
        result = train_body(
            stream,
            naive,
            epochs=epochs,
            rotations=rotations,
            batch_size=config.batch_size,
            seed=config.seed,
            device=device,
            precision=precision,
            split=config.measure_on,
            progress=progress,
            trainer=trainer,
        )
        # the last part of a training that was stopped, and what came before
        seconds = max(time.perf_counter() - started, result.seconds_per_experience[0])
        facts = {"seconds": seconds, "stream": stream.name, "epochs": 2 * epochs if rotations else epochs}
        _save(path, scratch, body.state_dict(), facts)
    digest = digest_of_trunk(body)
    trunk, tail = decompose(body, config.depth)
    if options.standardise and config.depth:
        trunk = standardised(trunk, stream[0], seed=config.seed, device=device)
        tail = nn.Sequential(Restore(cast(Standardise, trunk[-1])), tail)
    return TrainedTrunk(trunk, seconds, tail, digest)


def _save(path: Path, scratch: Path | None, state: dict[str, Tensor], facts: dict[str, Any]) -> None:
    if scratch is not None:
        save_checkpoint(scratch, state, facts)
        with contextlib.suppress(OSError):  # from one disk to another
            move(scratch, path)
            return
    save_checkpoint(path, state, facts)


def is_trained(config: RunConfig, stream: Stream, directory: Path, precision: Precision = "full") -> bool:
    """Whether the trunk of `config` lies in `directory`."""
    return _path(config, stream, directory, precision).is_file()


def untrained_trunk(config: RunConfig, stream: Stream, device: torch.device) -> tuple[nn.Module, nn.Module]:
    """A trunk of the shape of the trained one, not standardised, and its tail: to find out whether options fit."""
    return decompose(_untrained(config, stream, device).model.body, config.depth)


def _untrained(config: RunConfig, stream: Stream, device: torch.device) -> Naive:
    optimiser = config.options[Optimiser]
    model = build_model(config.model, stream, len(stream[0].classes), config.seed, "model").to(device)
    return Naive(model, Optimisation(optimiser.lr, config.options[FrozenTrunk].trunk_schedule), seed=config.seed)


def _epochs(config: RunConfig) -> int:
    return config.options[FirstExperience].trunk_epochs or config.epochs


def _path(config: RunConfig, stream: Stream, directory: Path, precision: Precision) -> Path:
    return directory / f"{_fingerprint(config, stream, precision)}.safetensors"


def _fingerprint(config: RunConfig, stream: Stream, precision: Precision) -> str:
    optimiser, first = config.options[Optimiser], stream[0]
    what = (
        *(config.seed, config.batch_size, _epochs(config)),
        *(optimiser.lr, config.options[FrozenTrunk].trunk_schedule, repr(first.train_transform)),
        *(("mixed",) if precision == "mixed" else ()),
        *(("rotations",) if config.options[FrozenTrunk].trunk_rotations else ()),
        *((config.model,) if config.model != USUAL else ()),
    )
    digest = hashlib.blake2b(json.dumps([str(part) for part in what]).encode(), digest_size=8)
    digest.update(first.train.images.numpy().tobytes())
    digest.update(first.train.labels.numpy().tobytes())
    return f"trunk-{digest.hexdigest()}"
