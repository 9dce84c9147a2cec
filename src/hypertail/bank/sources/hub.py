"""Backbones of the transformers library, from the hub or a folder, cut between the blocks of their encoder."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hypertail.bank.backbone import Backbone
from hypertail.bank.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from hypertail.bank.sources.given import probe_batch
from hypertail.bank.sources.slim import fill
from hypertail.errors import ConfigError, MissingExtraError
from hypertail.nets.channels import feature_axis
from hypertail.seeds import seeded
from hypertail.storage.jsonfile import JsonError, read_json

PREFIX = "transformers:"
PROBE_SECONDS = 10.0
Pooling = Literal["token", "mean", "space"]
LISTS = ("layers", "encoder.layers", "encoder.layer", "encoder.stages")
"""Where models keep the blocks of their encoder."""
LEFT_OUT = ("_name_or_path", "auto_map", "custom_pipelines", "architectures")
"""Keys of a configuration that are no part of the architecture, or name code or places."""


class Stem(nn.Module):
    """Embeddings and the first blocks: images -> tokens (n, t, c) or maps (n, c, h, w)."""

    def __init__(self, embed: nn.Module, before: nn.Module | None, blocks: nn.ModuleList) -> None:
        super().__init__()
        self.embed, self.before, self.blocks = embed, before, blocks

    def forward(self, images: Tensor) -> Tensor:
        """The features."""
        hidden = self.embed(images)
        hidden = hidden if self.before is None else self.before(hidden)
        for block in self.blocks:
            hidden = _run(block, hidden)
        return hidden  # type: ignore[no-any-return]


class Top(nn.Module):
    """The other blocks, pooling and the last norm: features -> (n, width)."""

    def __init__(self, blocks: nn.ModuleDict, norm: nn.Module | None, pooling: Pooling) -> None:
        super().__init__()
        self.blocks, self.norm, self.pooling = blocks, norm, pooling

    def forward(self, features: Tensor) -> Tensor:
        """The vectors."""
        hidden = features
        for block in self.blocks.values():
            hidden = _run(block, hidden)
        if self.pooling == "token":
            hidden = hidden[:, 0]
        else:
            hidden = hidden.mean(1) if self.pooling == "mean" else hidden.mean((-2, -1))
        return hidden if self.norm is None else self.norm(hidden)


def _run(block: nn.Module, hidden: Tensor) -> Tensor:
    """The output of a block; images need no mask, which some blocks want to be told."""
    mask = inspect.signature(block.forward).parameters.get("attention_mask")
    value = block(hidden) if mask is None or mask.default is not mask.empty else block(hidden, attention_mask=None)
    found: Tensor = value[0] if isinstance(value, tuple) else value
    return found


def load(name: str, cut: str | None) -> Backbone:
    """The model of that name, or in that folder.

    Args:
        name: on the hub, or a folder with `config.json` and safetensors.
        cut: such as `layers.9` or `encoder.stages.3`; None for the last quarter of the blocks.

    Raises:
        ConfigError: it cannot be loaded, is of an unknown build, or has no such block.
        MissingExtraError: transformers is not installed.
    """
    model = _encoder(_loaded(name))
    said = _read_preprocessing(name)
    settings: Any = model.config
    config = json.loads(settings.to_json_string(use_diff=False))
    facts = {
        "name": kept_name(name),
        "config": {key: value for key, value in config.items() if key not in LEFT_OUT},
    }
    return cut_encoder(model, cut, preprocessing_of(said, config), facts)


def kept_name(name: str) -> str:
    """What a bank keeps of a name: of a folder its own name, not where it lies."""
    folder = Path(name).expanduser()
    return (folder.name or folder.resolve().name) if folder.exists() else name


def rebuilt(said: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Backbone:
    """The same from what a bank keeps: no network, no code but that of transformers itself.

    Raises:
        ConfigError: a configuration that transformers does not know.
        CheckpointError: tensors of another model.
    """
    transformers = _library()
    config = dict(said["facts"]["config"])
    kind = config.pop("model_type", "")
    try:
        made = transformers.AutoConfig.for_model(kind, **config)
        made._attn_implementation = "eager"
        with seeded(0, "shapes"):
            model = transformers.AutoModel.from_config(made, trust_remote_code=False, attn_implementation="eager")
    except Exception as error:  # of many kinds
        raise _unloadable(str(said["facts"].get("name", kind)), error) from error
    backbone = cut_encoder(
        _encoder(model), str(said["cut"]), Preprocessing.from_json(said["preprocessing"]), dict(said["facts"])
    )
    fill(backbone, tensors)
    return backbone


def cuts_of(model: nn.Module) -> tuple[str, list[str]]:
    """Where the blocks of an encoder are, and the names of those that the tail may begin with.

    Raises:
        ConfigError: a build that is not known.
    """
    for path in LISTS:
        try:
            blocks = model.get_submodule(path)
        except AttributeError:
            continue
        if isinstance(blocks, nn.ModuleList) and len(blocks):
            return path, [f"{path}.{number}" for number in range(len(blocks))]
    raise ConfigError(
        f"encoder of a {type(model).__name__}",
        required=f"a list of blocks under {', '.join(LISTS)}",
        found=", ".join(name for name, _ in model.named_children()),
        hint="Cut the model by hand: Bank.create(path, model=trunk, tail=tail).",
    )


def cut_encoder(model: nn.Module, cut: str | None, preprocessing: Preprocessing, facts: dict[str, Any]) -> Backbone:
    """Trunk and body of an encoder, which give what it gives as its pooled output or class token.

    Raises:
        ConfigError: no such block, or an output that is neither.
    """
    path, names = cuts_of(model)
    chosen = names[len(names) - max(1, len(names) // 4)] if cut is None else cut
    if chosen not in names:
        raise ConfigError(
            f"cut of the {type(model).__name__}",
            required=f"one of {names[0]} to {names[-1]}",
            found=f"'{chosen}'",
            hint="Name the first block that tasks may change.",
        )
    model.eval()
    blocks, start = model.get_submodule(path), names.index(chosen)
    assert isinstance(blocks, nn.ModuleList)
    embed: Any = model.embeddings if hasattr(model, "embeddings") else model.embedder
    stem = Stem(embed, getattr(model, "pre_layrnorm", None), nn.ModuleList(blocks[:start]))
    later = nn.ModuleDict({str(number): blocks[number] for number in range(start, len(blocks))})
    norm = next((getattr(model, name) for name in ("layernorm", "post_layernorm") if hasattr(model, name)), None)
    probe = probe_batch(preprocessing)
    with torch.no_grad():
        whole: Any = model
        features, output = stem(probe), whole(probe)
        pooled = getattr(output, "pooler_output", None)
        last = output.last_hidden_state
        wanted = [value.flatten(1) for value in (pooled, *([last[:, 0], last.mean(1)] if last.dim() == 3 else []))
                  if value is not None]  # fmt: skip
        kinds: tuple[Pooling, ...] = ("token", "mean") if features.dim() == 3 else ("space",)
        for kind in kinds:
            top = Top(later, norm, kind)
            vectors = top(features)
            # class tokens are normalised with or without the others: to rounding
            if any(vectors.shape == each.shape and torch.allclose(vectors, each, atol=1e-5) for each in wanted):
                source, axis = f"{PREFIX}{facts['name']}", feature_axis(top, features)
                return Backbone(
                    stem, top, preprocessing, vectors.shape[1], source, chosen, facts, stored=True, axis=axis
                )
    raise ConfigError(
        f"output of the {type(model).__name__}",
        required="a class token, the mean of tokens, or the mean over positions",
        found="another pooling",
        hint="Cut the model by hand: Bank.create(path, model=trunk, tail=tail).",
    )


def preprocessing_of(said: Mapping[str, Any], config: Mapping[str, Any]) -> Preprocessing:
    """From `preprocessor_config.json`; where it says nothing, the model's image size and ImageNet's statistics."""

    def side(value: Any) -> int | None:
        if isinstance(value, Mapping):
            value = value.get("shortest_edge") or value.get("height")
        return int(value) if value else None

    usual = config.get("image_size", 224)
    resized = side(said.get("size"))
    cropped = side(said.get("crop_size")) if said.get("do_center_crop") else None
    size = cropped or resized or int(usual if isinstance(usual, int) else usual[0])
    share = 1.0
    if cropped and resized and resized >= cropped:
        share = cropped / resized
    elif said.get("crop_pct") and resized and resized < 384:
        share = float(said["crop_pct"])
    by_edge = isinstance(said.get("size"), Mapping) and "shortest_edge" in said["size"]
    crop = bool(cropped or said.get("crop_pct") or by_edge)
    mean, std = said.get("image_mean", IMAGENET_MEAN), said.get("image_std", IMAGENET_STD)
    if said.get("do_normalize") is False:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return Preprocessing(size, tuple(mean), tuple(std), "crop" if crop else "stretch", share)


def _loaded(name: str) -> Any:
    transformers = _library()
    folder = Path(name).expanduser()
    try:
        with seeded(0, "shapes"):
            return transformers.AutoModel.from_pretrained(
                str(folder) if folder.is_dir() else _place_of(name),
                trust_remote_code=False,
                use_safetensors=True,
                attn_implementation="eager",
                dtype=torch.float32,
            )
    except Exception as error:  # transformers and the hub raise many kinds
        raise _unloadable(name, error) from error


def _place_of(name: str) -> str:
    """The name, where the hub can be reached; else the folder of what was downloaded before.

    The hub is asked once: transformers would retry for a minute before it looked there.
    """
    import huggingface_hub

    if not huggingface_hub.constants.HF_HUB_OFFLINE:
        try:
            huggingface_hub.HfApi().model_info(name, timeout=PROBE_SECONDS)
        except Exception as error:  # network, access and existence errors share no base
            try:
                return huggingface_hub.snapshot_download(name, local_files_only=True)
            except Exception:
                raise error from None
    return name


def encoder_of(name: str) -> nn.Module:
    """The part of the model of that name that sees images."""
    return _encoder(_loaded(name))


def _encoder(model: Any) -> nn.Module:
    """The part of a model that sees images."""
    found: nn.Module = getattr(model, "vision_model", model)
    return found


def _read_preprocessing(name: str) -> Mapping[str, Any]:
    folder = Path(name).expanduser()
    try:
        if folder.is_dir():
            place = folder / "preprocessor_config.json"
        else:
            from huggingface_hub import hf_hub_download

            place = Path(hf_hub_download(name, "preprocessor_config.json"))
        value = read_json(place)
    except (OSError, JsonError, ValueError):
        return {}
    except Exception:  # the hub has kinds of its own
        return {}
    return value if isinstance(value, Mapping) else {}


def _library() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError(
            "models of transformers",
            required="the package transformers",
            found="it is not installed",
            hint="pip install 'hypertail[trunks]'",
        ) from error
    logging: Any = transformers.utils.logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return transformers


def _unloadable(name: str, error: Exception) -> ConfigError:
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return ConfigError(
        f"model '{name}' of transformers",
        required="the name of a model on the hub that can be reached, or a folder with config.json and safetensors",
        found=first[:300],
        hint="Check the name and the network; or download it once, and give its folder: transformers:FOLDER.",
    )
