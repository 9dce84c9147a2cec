"""Backbones from modules, from transformers and from timm, and made again from what a bank keeps."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call

import hypertail as ht
from hypertail.bank.founding import described
from hypertail.bank.preprocessing import IMAGENET_MEAN
from hypertail.bank.sources import candidate_cuts, given_backbone, load_backbone, rebuild, slim_backbone
from hypertail.bank.sources.hub import preprocessing_of
from hypertail.errors import CheckpointError, ConfigError, MissingExtraError
from hypertail.nets import slim_resnet18
from support.banks import COLD, PIXELS, SIZE, WARM, answers, pictures, resnet, transformer
from support.errors import refused


def test_a_module_gives_what_it_gave() -> None:
    model = resnet()
    backbone = given_backbone(model, "layer2", preprocessing=PIXELS)
    x = torch.rand(3, 3, SIZE, SIZE)
    assert torch.equal(model.linear(backbone.body(backbone.trunk(x))), model(x))
    assert (backbone.width, backbone.source, backbone.stored) == (16, "given", False)
    assert backbone.digest == given_backbone(resnet(), "layer2", preprocessing=PIXELS).digest
    assert backbone.digest != given_backbone(resnet(1), "layer2", preprocessing=PIXELS).digest
    assert backbone.digest != given_backbone(model, "layer2.1", preprocessing=PIXELS).digest


def test_trunk_and_tail_given_apart() -> None:
    trunk, tail = (
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True)),
        nn.Sequential(nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 9)),
    )
    backbone = given_backbone(trunk, None, tail=tail, preprocessing=PIXELS)
    assert backbone.width == 4
    assert not any(isinstance(layer, nn.Linear) for layer in backbone.body.modules())


def test_refusals_of_modules() -> None:
    with refused(ConfigError, required="name of the first module", hint=("layer2", "auto")):
        given_backbone(resnet(), None, preprocessing=PIXELS)
    with refused(ConfigError, required="(n, 3, 12, 12)", hint="size"):
        given_backbone(nn.Sequential(nn.Flatten(), nn.Linear(10, 4), nn.Linear(4, 2)), "2", preprocessing=PIXELS)


def test_parts_that_do_not_fit() -> None:
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    with refused(ConfigError, problem="tail", required="(2, 4, 10, 10)", found="shapes cannot be multiplied"):
        given_backbone(trunk, None, tail=nn.Sequential(nn.Flatten(), nn.Linear(7, 3)), preprocessing=PIXELS)
    with refused(ConfigError, problem="output of the trunk", found="tuple"):
        given_backbone(Pair(), None, tail=nn.Flatten(), preprocessing=PIXELS)


class Pair(nn.Module):
    """Gives two tensors."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
def test_a_module_that_cannot_be_copied() -> None:
    def network(normed: Callable[[nn.Module], nn.Module]) -> nn.Sequential:
        conv = normed(nn.Conv2d(3, 4, 3))
        model = nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
        model(torch.rand(2, 3, SIZE, SIZE))
        return model

    with refused(ConfigError, problem="copy of the Sequential", hint="parametrizations.weight_norm"):
        given_backbone(network(nn.utils.weight_norm), "2", preprocessing=PIXELS)
    with refused(ConfigError, problem="copy of the Conv2d", hint="remove_weight_norm"):
        given_backbone(nn.ReLU(), None, tail=nn.utils.weight_norm(nn.Conv2d(3, 4, 3)), preprocessing=PIXELS)
    assert given_backbone(network(nn.utils.parametrizations.weight_norm), "2", preprocessing=PIXELS).width == 4


def test_a_slim_network_made_again() -> None:
    model = slim_resnet18(classes=3)
    pixels = ht.Preprocessing(32)
    backbone = slim_backbone(model, "block4", pixels)
    again = rebuild(described(backbone), backbone.tensors())
    assert again.digest == backbone.digest
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(again.body(again.trunk(x)), backbone.body(backbone.trunk(x)))
    with refused(ConfigError, required="block1", found="block5"):
        slim_backbone(model, "block5", pixels)
    tensors = backbone.tensors()
    del tensors["trunk.stem.conv.weight"]
    with refused(CheckpointError, required="stem.conv.weight", found="none"):
        rebuild(described(backbone), tensors)


def configurations() -> dict[str, Any]:
    import transformers as t

    small = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 12, "patch_size": 4}
    return {
        "vit": t.ViTConfig(**small, intermediate_size=32),
        "dinov2": t.Dinov2Config(**small),
        "deit": t.DeiTConfig(**small, intermediate_size=32),
        "beit": t.BeitConfig(**small, intermediate_size=32),
        "clip": t.CLIPVisionConfig(**small, intermediate_size=32),
        "siglip": t.SiglipVisionConfig(**small, intermediate_size=32),
        "resnet": t.ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic"),
        "convnext": t.ConvNextConfig(hidden_sizes=[4, 8], depths=[1, 1], num_stages=2, image_size=32),
    }


@pytest.fixture
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A model of transformers with random weights, saved as its library does."""
    import transformers

    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(configurations()[request.param]).eval()
    place = tmp_path / "saved-model"
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(place)
    (place / "preprocessor_config.json").write_text(json.dumps({"size": {"height": 12, "width": 12}}))
    return place


@pytest.mark.slow
@pytest.mark.parametrize("saved", list(configurations()), indirect=True)
def test_a_model_of_transformers(saved: Path) -> None:
    backbone = load_backbone(f"transformers:{saved}", cut=None)
    size = backbone.preprocessing.size
    x = torch.rand(2, 3, size, size)
    features = backbone.trunk(x)
    assert backbone.body(features).shape == (2, backbone.width)
    assert str(saved.parent) not in json.dumps(described(backbone))
    again = rebuild(json.loads(json.dumps(described(backbone))), backbone.tensors())
    assert again.digest == backbone.digest
    assert torch.equal(again.body(again.trunk(x)), backbone.body(features))
    moved = functional_call(backbone.body, {n: v + 0.1 for n, v in backbone.body.named_parameters()}, (features,))
    assert not torch.equal(moved, backbone.body(features))
    torch.export.export(nn.Sequential(copy.deepcopy(backbone.trunk), copy.deepcopy(backbone.body)), (x,))


@pytest.mark.slow
@pytest.mark.parametrize("saved", ["vit"], indirect=True)
def test_a_bank_of_transformers_opens_by_itself(saved: Path, tmp_path: Path) -> None:
    import shutil

    bank = ht.Bank.create(tmp_path / "bank", trunk=f"transformers:{saved}", cut="layers.2")
    bank.learn("warm", pictures(WARM, 8), epochs=2)
    shutil.rmtree(saved)
    again = ht.Bank.open(tmp_path / "bank")
    assert torch.equal(answers(again, "warm"), answers(bank, "warm"))
    again.learn("cold", pictures(COLD, 8), epochs=2)
    assert torch.equal(answers(again, "warm"), answers(bank, "warm"))


@pytest.mark.parametrize("saved", ["vit"], indirect=True)
def test_a_folder_below_the_home_is_named_without_its_place(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(saved.parent))
    backbone = load_backbone("transformers:~/saved-model", cut=None)
    assert (backbone.source, backbone.facts["name"]) == ("transformers:saved-model", "saved-model")
    monkeypatch.chdir(saved)
    assert load_backbone("transformers:.", cut=None).source == "transformers:saved-model"


@pytest.mark.parametrize("saved", ["vit"], indirect=True)
def test_cuts_of_transformers(saved: Path) -> None:
    assert candidate_cuts(f"transformers:{saved}", None) == ["layers.1", "layers.2", "layers.3"]
    with refused(ConfigError, required="layers.0 to layers.3", found="'layers.7'"):
        load_backbone(f"transformers:{saved}", cut="layers.7")


def test_candidates_of_a_module() -> None:
    assert candidate_cuts("given", resnet()) == ["bn1", "layer1", "layer2"]


def test_a_model_that_cannot_be_reached() -> None:
    with refused(ConfigError, problem="'nobody/nothing'", hint=("network", "transformers:FOLDER")):
        load_backbone("transformers:nobody/nothing", cut=None)


def test_a_configuration_that_names_code_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "evil", "auto_map": {"AutoModel": "evil.Evil", "AutoConfig": "evil.Config"}})
    )
    (tmp_path / "evil.py").write_text("raise SystemExit('code was run')")
    with refused(ConfigError, problem="model"):
        load_backbone(f"transformers:{tmp_path}", cut=None)


@pytest.mark.parametrize(
    ("said", "size", "resize", "share"),
    [
        (
            {"size": {"shortest_edge": 256}, "crop_size": {"height": 224}, "do_center_crop": True},
            *(224, "crop", 0.875),
        ),
        ({"size": {"height": 224, "width": 224}}, 224, "stretch", 1.0),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, 224, "crop", 0.875),
        ({"size": 384, "do_center_crop": False}, 384, "stretch", 1.0),
        ({}, 96, "stretch", 1.0),
    ],
)
def test_what_processors_say(said: dict[str, Any], size: int, resize: str, share: float) -> None:
    found = preprocessing_of(said, {"image_size": 96})
    assert (found.size, found.resize, found.crop_share) == (size, resize, share)
    assert found.mean == IMAGENET_MEAN
    plain = preprocessing_of({**said, "do_normalize": False}, {"image_size": 96})
    assert plain.std == (1.0, 1.0, 1.0)


def test_an_unknown_source() -> None:
    with refused(ConfigError, problem="trunk 'transfomers:x'", hint="transformers"):
        load_backbone("transfomers:x", cut=None)


def test_timm_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with refused(MissingExtraError, hint="pip install timm"):
        load_backbone("timm:resnet18", cut=None)


def test_timm_of_a_transformer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """timm gives it without its classifier; the last linear layer is then one of its blocks."""

    def create_model(name: str, *, pretrained: bool, num_classes: int) -> nn.Module:
        model = transformer()
        model.head = nn.Identity()  # type: ignore[assignment]
        return model

    stand_in(monkeypatch, create_model)
    bank = ht.Bank.create(tmp_path / "bank", trunk="timm:vit", cut="blocks.1")
    assert bank.backbone.width == 16
    bank.learn("warm", pictures(WARM, 8), epochs=1)
    assert torch.equal(answers(ht.Bank.open(tmp_path / "bank"), "warm"), answers(bank, "warm"))


def stand_in(monkeypatch: pytest.MonkeyPatch, create_model: Callable[..., nn.Module]) -> None:
    """Something in the place of the library, which is not installed here, with what is called of it."""
    said = {"input_size": (3, SIZE, SIZE), "mean": (0.5,) * 3, "std": (0.5,) * 3, "crop_pct": 0.9}
    library = ModuleType("timm")
    library.create_model = create_model  # type: ignore[attr-defined]
    library.data = SimpleNamespace(resolve_model_data_config=lambda model: said)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", library)


def test_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def create_model(name: str, *, pretrained: bool, num_classes: int) -> nn.Module:
        made.append((name, pretrained, num_classes))
        model = resnet(0 if pretrained else 5)
        model.linear = nn.Identity()  # type: ignore[assignment]
        return model

    stand_in(monkeypatch, create_model)
    backbone = load_backbone("timm:small", cut="layer2")
    assert (backbone.source, backbone.width, backbone.stored) == ("timm:small", 16, True)
    assert backbone.preprocessing.crop_share == 0.9
    again = rebuild(json.loads(json.dumps(described(backbone))), backbone.tensors())
    assert again.digest == backbone.digest
    assert made == [("small", True, 0), ("small", False, 0)]
    assert load_backbone("timm:small", cut=None).cut == "layer2"
