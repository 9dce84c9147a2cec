"""A trunk with pretrained weights from a file, in place of one trained on e_1."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from hypertail.errors import ConfigError, DataError
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.trunks import TrainedTrunk
from hypertail.nets import decompose
from hypertail.nets.body import headless
from hypertail.nets.models import MainModel, main_model
from hypertail.nets.standardise import Restore, Standardise
from hypertail.recipes.build import build_model
from hypertail.recipes.shared import FrozenTrunk
from hypertail.streams import Normalise, Stream
from hypertail.training.pretrain import standardised


def digest_of_weights(path: Path) -> str:
    """What a run records of a file of weights.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise DataError(
            f"weights {path}",
            required="a file that can be read",
            found=error.strerror or str(error),
            hint="Check the path.",
        ) from error


def pretrained_trunk(config: RunConfig, stream: Stream, path: Path | None, device: torch.device) -> TrainedTrunk:
    """The trunk of `config` with the weights in a file, features standardised if asked for, and the tail beside it.

    The classifier in the file is left: tasks have classes of their own. Images are brought to the mean and deviation
    that the weights were trained with, where the model tells them.

    Args:
        config: of the run; `weights` is the digest of the file.
        stream: gives shapes, what is done to images, and the images that features are standardised with.
        path: of the file, safetensors.
        device: where the trunk is to work.

    Raises:
        ConfigError: no file was named, the file is not the one of this run, or images have other channels than those
            that the weights were trained with.
        DataError: it cannot be read, or holds the weights of another model.
    """
    started = time.perf_counter()
    _check_file(config, path)
    assert path is not None
    assert config.weights is not None
    known = main_model(config.model)
    brought = _brought(known, stream)
    model = build_model(config.model, stream, stream.max_classes, config.seed, "model")
    body, _ = headless(model)
    wanted = body.state_dict()
    found = {known.stage_of(name): value for name, value in _read(path).items()}
    for name, value in wanted.items():
        if name.endswith("num_batches_tracked"):
            found.setdefault(name, value)
        if name not in found or found[name].shape != value.shape:
            what = f"shape {tuple(found[name].shape)}" if name in found else "none"
            raise DataError(
                f"weights {path}",
                required=f"those of {config.model}, with '{name}' of shape {tuple(value.shape)}",
                found=what,
                hint="Name the --model that the file was made for.",
            )
    body.load_state_dict({name: found[name] for name in wanted})
    trunk, tail = decompose(body.to(device), config.depth)
    trunk = nn.Sequential(*brought, trunk).to(device)
    if config.options[FrozenTrunk].standardise:
        trunk = standardised(trunk, stream[0], seed=config.seed, device=device)
        tail = nn.Sequential(Restore(cast(Standardise, trunk[-1])), tail)
    return TrainedTrunk(trunk, time.perf_counter() - started, tail, config.weights)


def _check_file(config: RunConfig, path: Path | None) -> None:
    if path is None:
        raise ConfigError(
            "pretrained weights of the run",
            required=f"the file with the digest {config.weights}",
            found="none",
            hint="Name it to hypertail run: --weights FILE.",
        )
    digest = digest_of_weights(path)
    if digest != config.weights:
        raise ConfigError(
            f"weights {path}",
            required=f"the file that the run began with, of digest {config.weights}",
            found=f"digest {digest}",
            hint="Restore the file, or start again with another --out.",
        )


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load(path.read_bytes())  # `load_file` asks for a path in UTF-8
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(
            f"weights {path}",
            required="a readable safetensors file",
            found=(str(error).splitlines() or [type(error).__name__])[0],
            hint="Convert other files with safetensors.torch.save_file(model.state_dict(), ...).",
        ) from error


def _brought(known: MainModel, stream: Stream) -> list[nn.Module]:
    """Stages that bring the images of a stream to what pretrained weights expect."""
    if known.expects is None:
        return []
    channels = stream.image_shape[0]
    if channels != len(known.expects[0]):
        raise ConfigError(
            f"images of {stream.name}",
            required=f"{len(known.expects[0])} channels, as the weights of {known.name} expect",
            found=f"{channels}",
            hint="Use a stream of such images.",
        )
    steps = getattr(stream[0].test_transform, "steps", ())
    done = next((step for step in steps if isinstance(step, Normalise)), None)
    given = _standardise(*((0.0,), (1.0,)) if done is None else (done.mean, done.std), channels)
    return [Restore(given), _standardise(*known.expects, channels)]


def _standardise(mean: tuple[float, ...], std: tuple[float, ...], channels: int) -> Standardise:
    stage = Standardise(channels)
    stage.mean.copy_(torch.tensor(mean).expand(channels))
    stage.std.copy_(torch.tensor(std).expand(channels))
    return stage
