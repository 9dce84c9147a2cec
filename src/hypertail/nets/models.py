"""Main models by name, and where each may be cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Protocol

from torch import nn

from hypertail.errors import ConfigError, unknown_name
from hypertail.nets.cifar_resnet import cifar_resnet, stage_of
from hypertail.nets.decompose import decompose, stage_names
from hypertail.nets.resnet import Norm, slim_resnet18
from hypertail.seeds import seeded


class Build(Protocol):
    """Builds a main model with fresh weights."""

    def __call__(self, classes: int, *, channels: int, norm: Norm) -> nn.Sequential:
        """A sequence of stages, the last of them the classifier of `classes` outputs."""


@dataclass(frozen=True)
class MainModel:
    """A main model f that runs can be made with.

    Attributes:
        name: as on the command line.
        what: one sentence.
        build: (classes, channels, norm) -> the model; `norm` is that of the authors' preset where it is `instance`.
        expects: mean and standard deviation of each channel, by which images in 0..1 are brought to what pretrained
            weights of this model were trained on; None where there are none.
        stage_of: name of a tensor in files of pretrained weights -> its name in the model.
    """

    name: str
    what: str
    build: Build
    expects: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    stage_of: Callable[[str], str] = str

    @property
    def deepest(self) -> int:
        """The largest depth it can be cut at: all stages but the classifier are frozen."""
        return _deepest(self.name)


@dataclass(frozen=True, eq=False)
class Cut:
    """A main model cut at a depth: shapes without numbers, on torch's meta device.

    Attributes:
        trunk: what is frozen; empty at depth 0.
        tail: the rest.
    """

    trunk: nn.Sequential
    tail: nn.Sequential

    @property
    def has_trunk(self) -> bool:
        """Whether anything is frozen."""
        return any(True for _ in self.trunk.parameters())

    @property
    def is_classifier(self) -> bool:
        """Whether the tail is a linear classifier and nothing else that learns."""
        return sum(parameter.dim() >= 2 for parameter in self.tail.parameters()) == 1

    @property
    def has_convolutions(self) -> bool:
        """Whether the tail has convolutions."""
        return any(parameter.dim() > 2 for parameter in self.tail.parameters())


_MODELS: dict[str, MainModel] = {}
USUAL = "slim-resnet18"
"""The main model of the paper (section 4)."""


def register_model(model: MainModel) -> MainModel:
    """Make a main model known by its name, for `--model`, `RunConfig.model` and `info`.

    Raises:
        ConfigError: the name is taken by another one.
    """
    if _MODELS.setdefault(model.name, model) is not model:
        raise ConfigError(
            f"main model '{model.name}'",
            required="a name that no other model has",
            found="one that is taken",
            hint="Register it under another name, once.",
        )
    return model


def model_names() -> dict[str, str]:
    """Name -> what it is."""
    return {name: model.what for name, model in _MODELS.items()}


def main_model(name: str) -> MainModel:
    """The main model of that name.

    Raises:
        ConfigError: there is none; the message names the nearest.
    """
    if name not in _MODELS:
        raise unknown_name("main model", name, _MODELS)
    return _MODELS[name]


@lru_cache(maxsize=64)
def cut_of(name: str, depth: int) -> Cut:
    """The main model `name` cut at `depth`.

    Raises:
        ConfigError: an unknown name, or a depth that it cannot be cut at.
    """
    trunk, tail = decompose(_shapes(name), depth)
    return Cut(trunk, tail)


@lru_cache(maxsize=64)
def _deepest(name: str) -> int:
    return max(0, len(stage_names(_shapes(name))) - 2)


def _shapes(name: str) -> nn.Sequential:
    # built on the CPU: torch takes seconds to load what initialises tensors of the meta device
    with seeded(0, "shapes"):
        return main_model(name).build(2, channels=3, norm="batch").to("meta")


def _resnet(width: int) -> Callable[..., nn.Sequential]:
    return partial(slim_resnet18, width=width)


register_model(MainModel(USUAL, "slim ResNet-18 (20 channels in its stem), the paper's", _resnet(20)))
register_model(MainModel("resnet18", "ResNet-18 for small images (64 channels in its stem)", _resnet(64)))
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
for _layers in (20, 56):
    register_model(
        MainModel(
            f"cifar-resnet{_layers}",
            f"ResNet-{_layers} for CIFAR (He et al., section 4.2), of which pretrained weights exist (--weights)",
            partial(cifar_resnet, blocks=(_layers - 2) // 6),
            _IMAGENET,
            stage_of,
        )
    )
