"""The slim ResNet-18 that the first folder of a bank trains."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from hypertail.bank.backbone import Backbone
from hypertail.bank.preprocessing import Preprocessing
from hypertail.errors import CheckpointError, ConfigError
from hypertail.nets.decompose import decompose
from hypertail.nets.models import cut_of
from hypertail.nets.resnet import slim_resnet18
from hypertail.seeds import seeded

NAME = "slim-resnet18"


def slim_backbone(model: nn.Module, cut: str, preprocessing: Preprocessing) -> Backbone:
    """A trained slim ResNet-18, its classifier aside, cut at one of its stages.

    Raises:
        ConfigError: no such stage, or one that leaves nothing on one side.
    """
    stages = [(name, stage) for name, stage in model.named_children() if name != "classifier"]
    _refuse_other(cut, [name for name, _ in stages][1:])
    whole = nn.Sequential()
    for name, stage in stages:
        whole.add_module(name, copy.deepcopy(stage))
    whole.add_module("pool", nn.AdaptiveAvgPool2d(1))
    whole.add_module("flatten", nn.Flatten())
    trunk, body = decompose(whole, at=cut)
    width = [parameter for parameter in body.parameters() if parameter.dim() == 1][-1].shape[0]
    return Backbone(trunk, body, preprocessing, width, NAME, cut, {}, stored=True, axis=1)


def check_stage(cut: str) -> None:
    """Refuse a stage to cut at before anything is trained.

    Raises:
        ConfigError: no such stage.
    """
    _refuse_other(cut, [name for name, _ in cut_of(NAME, 0).tail.named_children()][1:-1])


def _refuse_other(cut: str, names: list[str]) -> None:
    if cut not in names:
        raise ConfigError(
            f"cut of {NAME}", required=f"one of {', '.join(names)}", found=f"'{cut}'", hint="Name one of them."
        )


def rebuilt(said: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Backbone:
    """The same from its tensors.

    Raises:
        CheckpointError: they are those of another model.
    """
    with seeded(0, "shapes"):
        empty = slim_resnet18(classes=2)
    backbone = slim_backbone(empty, str(said["cut"]), Preprocessing.from_json(said["preprocessing"]))
    fill(backbone, tensors)
    return backbone


def fill(backbone: Backbone, tensors: Mapping[str, Tensor]) -> None:
    """Give a backbone the tensors that were stored.

    Raises:
        CheckpointError: names or shapes are others.
    """
    own = backbone.tensors()
    for name in sorted(own.keys() | tensors.keys()):
        if name not in own or name not in tensors or own[name].shape != tensors[name].shape:
            raise CheckpointError(
                "model of the bank",
                required=f"'{name}' of shape {tuple(own[name].shape)}" if name in own else f"no '{name}'",
                found=f"shape {tuple(tensors[name].shape)}" if name in tensors else "none",
                hint="Check the bank: hypertail verify --bank BANK.",
            )
        own[name].copy_(tensors[name])
