"""Where backbones come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from hypertail.bank.backbone import Backbone
from hypertail.bank.sources import hub, slim, timm
from hypertail.bank.sources.given import given_backbone
from hypertail.bank.sources.slim import slim_backbone
from hypertail.errors import ConfigError, unknown_name
from hypertail.nets.trace import cut_names

SOURCES = {
    slim.NAME: "a slim ResNet-18 that the first folder trains",
    f"{hub.PREFIX}NAME_OR_PATH": "a model of transformers, from the hub or a folder",
    f"{timm.PREFIX}NAME": "a pretrained model of timm",
}
"""How a source is written -> what it is."""

__all__ = ["SOURCES", "candidate_cuts", "given_backbone", "load_backbone", "rebuild", "slim_backbone", "source_name"]


def load_backbone(source: str, *, cut: str | None) -> Backbone:
    """The pretrained model that a source names.

    Raises:
        ConfigError: an unknown source or model, or a cut that it does not have.
        MissingExtraError: its library is not installed.
    """
    for prefix, load in ((hub.PREFIX, hub.load), (timm.PREFIX, timm.load)):
        if source.startswith(prefix) and len(source) > len(prefix):
            return load(source.removeprefix(prefix), cut)
    raise unknown_name("trunk", source, SOURCES)


def source_name(source: str) -> str:
    """What a bank keeps of a source: no place of the machine."""
    if source.startswith(hub.PREFIX):
        return hub.PREFIX + hub.kept_name(source.removeprefix(hub.PREFIX))
    return source


def rebuild(said: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Backbone:
    """The backbone that a bank keeps.

    Args:
        said: of it, in the manifest.
        tensors: of trunk and body.

    Raises:
        CheckpointError: tensors of another model.
    """
    source = str(said["source"])
    if source == slim.NAME:
        return slim.rebuilt(said, tensors)
    if source.startswith(timm.PREFIX):
        return timm.rebuilt(said, tensors)
    return hub.rebuilt(said, tensors)


def candidate_cuts(source: str, model: nn.Module | None) -> list[str]:
    """The modules that are worth trying to cut at, from input to output.

    Raises:
        ConfigError: the model cannot be traced, or has none.
    """
    if model is not None:
        names = [name for name, _ in model.named_children()][1:] if isinstance(model, nn.Sequential) else []
        names = names or cut_names(model)
        top = [name for name in names if "." not in name] or names
        # the last one is usually the classifier, above which nothing is left to learn but a head
        found = top[:-1] if len(top) > 1 else top
    elif source.startswith(hub.PREFIX):
        found = hub.cuts_of(hub.encoder_of(source.removeprefix(hub.PREFIX)))[1][1:]
    else:
        found = []
    if not found:
        raise ConfigError(
            "cut='auto'",
            required="a model with modules to cut at",
            found=f"none in {source}",
            hint="Name the module: cut='layer4', say.",
        )
    return found
