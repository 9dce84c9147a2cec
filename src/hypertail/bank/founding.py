"""The backbone of a bank: decided when it is created or by its first folder, made again when it is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from hypertail.bank.backbone import Backbone
from hypertail.bank.preprocessing import Preprocessing
from hypertail.bank.sources import given_backbone, load_backbone, rebuild
from hypertail.bank.sources.slim import check_stage
from hypertail.bank.store import Store
from hypertail.errors import CheckpointError, ConfigError

SLIM, AUTO_CUT = "slim-resnet18", "auto"


@dataclass(frozen=True, eq=False)
class Founding:
    """What the user asked for, until there is a backbone.

    Attributes:
        source: `slim-resnet18`, `transformers:NAME`, `timm:NAME`, or `given` with a `model`.
        cut: name of the module to cut at, `auto`, or None for what is usual for the source.
        model: with `given`: the whole model, or its trunk where `tail` is given too.
        tail: the part above the cut, where the model was cut by hand.
        preprocessing: of images; None for what the source says.
    """

    source: str = SLIM
    cut: str | None = None
    model: nn.Module | None = field(default=None, repr=False)
    tail: nn.Module | None = field(default=None, repr=False)
    preprocessing: Preprocessing | None = None

    def __post_init__(self) -> None:
        if self.tail is not None and self.model is None:
            raise ConfigError(
                "tail without a trunk",
                required="model= as well: the part below the cut",
                found="tail= alone",
                hint="Give both parts: Bank.create(path, model=trunk, tail=tail).",
            )

    @classmethod
    def of(
        cls,
        model: nn.Module | None,
        source: str | None,
        cut: str | None,
        tail: nn.Module | None,
        preprocessing: Preprocessing | None,
    ) -> Founding:
        """From what `Bank.create` was given.

        Raises:
            ConfigError: both a model and a source, or a tail and a cut; preprocessing of a source that has its own; a
                stage that the slim ResNet-18 lacks.
        """
        if model is not None and source is not None:
            raise ConfigError(
                "backbone of the bank",
                required="model= or trunk=",
                found="both",
                hint="Give a module by model=, or a source by trunk=.",
            )
        if tail is not None and cut is not None:
            raise ConfigError(
                "cut of a model that is given in two parts",
                required="tail= or cut=",
                found=f"both; cut='{cut}'",
                hint="Leave out the cut: the two parts were cut by hand.",
            )
        name = "given" if model is not None else source or SLIM
        if preprocessing is not None and name not in ("given", SLIM):
            raise ConfigError(
                "preprocessing of the bank",
                required=f"none: {name} says how its images are prepared",
                found=f"{preprocessing.size} pixels, mean {preprocessing.mean}, std {preprocessing.std}",
                hint="Leave it out, or give the model itself by model=.",
            )
        if name == SLIM and cut not in (None, AUTO_CUT):
            check_stage(cut)
        return cls(name, cut, model, tail, preprocessing)

    @property
    def needs_images(self) -> bool:
        """Whether the first folder decides: it trains the model, or shows where to cut."""
        return self.source == SLIM or self.cut == AUTO_CUT

    def backbone(self) -> Backbone:
        """The backbone, where no image is needed.

        Raises:
            ConfigError: it cannot be cut there, or has no such source.
        """
        if self.model is not None:
            cut = None if self.tail is not None else self.cut
            return given_backbone(self.model, cut, tail=self.tail, preprocessing=self.preprocessing)
        return load_backbone(self.source, cut=self.cut)

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "source": self.source,
            "cut": self.cut,
            "preprocessing": None if self.preprocessing is None else self.preprocessing.to_json(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], model: nn.Module | None, tail: nn.Module | None) -> Founding:
        """What `to_json` gave, with the modules given again.

        Raises:
            ConfigError: a model was given, and is not given again.
        """
        if value["source"] == "given" and model is None:
            raise _not_given("none")
        wanted = value["preprocessing"]
        preprocessing = None if wanted is None else Preprocessing.from_json(wanted)
        return cls(value["source"], value["cut"], model, tail, preprocessing)


def described(backbone: Backbone) -> dict[str, Any]:
    """What a manifest says of a backbone."""
    return {
        "source": backbone.source,
        "cut": backbone.cut,
        "facts": backbone.facts,
        "preprocessing": backbone.preprocessing.to_json(),
        "width": backbone.width,
        "stored": backbone.stored,
        "digest": backbone.digest,
        "axis": backbone.axis,
    }


def made_again(
    said: Mapping[str, Any], tensors: dict[str, Tensor] | None, model: nn.Module | None, tail: nn.Module | None
) -> Backbone:
    """The backbone that a manifest describes.

    Args:
        said: of `described`.
        tensors: where the bank keeps them.
        model, tail: given again, where it does not.

    Raises:
        ConfigError: the model has to be given again.
        CheckpointError: it is another one, by its digest.
    """
    if said["stored"]:
        return _same(rebuild(dict(said), tensors or {}), said)
    if model is None:
        raise _not_given("none")
    cut = str(said["cut"])
    if tail is None and not cut:
        raise _not_given("one part: it was given in two, trunk and tail")
    preprocessing = Preprocessing.from_json(said["preprocessing"])
    backbone = given_backbone(model, None if tail is not None else cut, tail=tail, preprocessing=preprocessing)
    # banks of older versions may name a cut beside a tail, where it had no effect
    return _same(replace(backbone, cut=cut), said)


def without_model(store: Store) -> CheckpointError:
    """The error for a bank that was left so by an older version, which wrote the model in a commit of its own."""
    place, number = store.path, store.manifest.generation
    repair = f"hypertail rollback {number} --bank {place} puts it right, if an earlier generation has the file."
    anew = f"It holds no task: delete the directory {place} and make the bank again."
    return CheckpointError(
        f"model of the bank at '{place}'",
        required="a file of it, which this bank keeps",
        found=f"none in generation {number}",
        hint=repair if store.manifest.log[-1].event != "create" else anew,
    )


def _not_given(found: str) -> ConfigError:
    return ConfigError(
        "model of this bank",
        required="the model that it was made with, which the bank does not keep",
        found=found,
        hint="Give it again: Bank.open(path, model=model), with tail=tail if it was made with one; "
        "or --model MODULE:FUNCTION.",
    )


def _same(backbone: Backbone, said: Mapping[str, Any]) -> Backbone:
    """The backbone, if it is the one that a manifest describes; where its channels are, the manifest decides."""
    backbone = replace(backbone, axis=said.get("axis"))
    if backbone.digest != said["digest"]:
        raise CheckpointError(
            "model of this bank",
            required=f"the model that it was made with (digest {said['digest']})",
            found=f"another one (digest {backbone.digest})",
            hint="Give the same model with the same weights, in evaluation mode, cut at the same place.",
        )
    return backbone
