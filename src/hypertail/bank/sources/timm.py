"""Backbones of timm, cut at a named module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from hypertail.bank.backbone import Backbone
from hypertail.bank.preprocessing import Preprocessing
from hypertail.bank.sources.given import given_backbone
from hypertail.bank.sources.slim import fill
from hypertail.errors import ConfigError, MissingExtraError
from hypertail.nets.trace import cut_names
from hypertail.seeds import seeded

PREFIX = "timm:"


def load(name: str, cut: str | None) -> Backbone:
    """The pretrained model of that name.

    Args:
        name: of the model.
        cut: name of a module; None for the last of its top modules that have parameters, the classifier aside.

    Raises:
        ConfigError: no such model, or it cannot be cut there.
        MissingExtraError: timm is not installed.
    """
    return _made(name, cut, pretrained=True)


def rebuilt(said: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Backbone:
    """The same from what a bank keeps."""
    backbone = _made(str(said["facts"]["name"]), str(said["cut"]), pretrained=False)
    fill(backbone, tensors)
    return replace(backbone, preprocessing=Preprocessing.from_json(said["preprocessing"]))


def _made(name: str, cut: str | None, *, pretrained: bool) -> Backbone:
    try:
        import timm
    except ImportError as error:
        raise MissingExtraError(
            "models of timm", required="the package timm", found="it is not installed", hint="pip install timm"
        ) from error
    try:
        with seeded(0, "shapes"):
            model: nn.Module = timm.create_model(name, pretrained=pretrained, num_classes=0)
    except Exception as error:  # of many kinds
        raise ConfigError(
            f"model '{name}' of timm",
            required="the name of a pretrained model",
            found=(str(error).splitlines() or [type(error).__name__])[0][:300],
            hint="timm.list_models(pretrained=True) lists them.",
        ) from error
    said = timm.data.resolve_model_data_config(model)
    share = float(said.get("crop_pct", 1.0))
    preprocessing = Preprocessing(
        int(said["input_size"][-1]), tuple(said["mean"]), tuple(said["std"]), "crop", min(1.0, share)
    )
    chosen = cut if cut is not None else last_stage(model)
    backbone = given_backbone(model, chosen, preprocessing=preprocessing)
    return replace(backbone, source=f"{PREFIX}{name}", facts={"name": name}, stored=True)


def last_stage(model: nn.Module) -> str:
    """The last stage of a model that can be cut at: the shortest name among the last modules."""
    names = [name for name in cut_names(model) if name.count(".") <= 1]
    if not names:
        raise ConfigError(
            f"cut of a {type(model).__name__}",
            required="a module where one tensor crosses",
            found="none",
            hint="Cut the model by hand: Bank.create(path, model=trunk, tail=tail).",
        )
    return names[-2] if len(names) > 1 else names[-1]
