from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from hypertail.errors import ConfigError
from hypertail.nets import Frozen, decompose, slim_resnet18
from support.asserts import assert_same_tensors, assert_tail_after_trunk_equals_model, state_of
from support.errors import refused
from support.tiny import BACKBONES, DEPTHS, backbone


def images(count: int = 6) -> torch.Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("net", BACKBONES)
def test_tail_after_trunk_equals_the_model(net: str, depth: int) -> None:
    model = backbone(net)
    trunk, tail = decompose(model, depth)
    assert_tail_after_trunk_equals_model(model, trunk, tail, images())


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("net", BACKBONES)
def test_parameters_are_shared_out_without_loss_or_overlap(net: str, depth: int) -> None:
    model = backbone(net)
    trunk, tail = decompose(model, depth)
    parts = [*trunk.parameters(), *tail.parameters()]
    assert [id(p) for p in parts] == [id(p) for p in model.parameters()]


def test_depth_counts_the_frozen_blocks() -> None:
    model = backbone("resnet")
    stages = [list(dict(decompose(model, depth)[0].named_children())) for depth in DEPTHS]
    assert stages == [[], *(["stem", *(f"block{n}" for n in range(1, k + 1))] for k in (1, 2, 3, 4))]


def test_cut_at_a_named_stage() -> None:
    model = backbone("resnet")
    trunk, tail = decompose(model, at="block3")
    assert list(dict(trunk.named_children())) == ["stem", "block1", "block2"]
    assert next(iter(dict(tail.named_children()))) == "block3"
    everything = decompose(model, at="stem")
    assert not list(everything[0].children())
    assert_tail_after_trunk_equals_model(model, trunk, tail, images())


def test_any_sequence_of_stages_can_be_cut() -> None:
    model = nn.Sequential(OrderedDict(features=nn.Flatten(), classifier=nn.Linear(192, 2)))
    trunk, tail = decompose(model, at="classifier")
    assert [p.shape for p in trunk.parameters()] == []
    assert list(dict(tail.named_parameters())) == ["classifier.weight", "classifier.bias"]


@pytest.mark.parametrize("depth", [-1, 5, None])
def test_depth_out_of_range(depth: int | None) -> None:
    with pytest.raises(ConfigError) as caught:
        decompose(slim_resnet18(2, width=2), depth)
    assert str(caught.value) == (
        f"depth of decomposition: required an integer from 0 to 4; found {depth}. "
        "Depth counts the frozen stages after the first; the classifier always belongs to the tail."
    )


def test_unknown_stage() -> None:
    with pytest.raises(ConfigError) as caught:
        decompose(slim_resnet18(2, width=2), at="layer3")
    assert str(caught.value) == (
        "no stage 'layer3' to cut at: required one of stem, block1, block2, block3, block4, classifier; "
        "found layer3. Name one of them."
    )


def test_model_that_is_not_a_sequence() -> None:
    with refused(ConfigError, problem="cut a Linear by depth", required="nn.Sequential", hint="cut='layer3'"):
        decompose(nn.Linear(2, 2), 0)


def test_frozen_stays_in_evaluation_mode() -> None:
    frozen = Frozen(decompose(backbone("resnet"), 2)[0])
    container = nn.Sequential(frozen, nn.Linear(2, 2)).train()
    frozen.train()
    assert container.training
    assert not any(module.training for module in frozen.modules())


def test_frozen_never_changes_and_yields_no_gradient() -> None:
    frozen = Frozen(decompose(backbone("resnet"), 2)[0]).train()
    before = state_of(frozen)
    features = frozen(images().requires_grad_())
    assert not features.requires_grad
    assert not any(p.requires_grad for p in frozen.parameters())
    assert_same_tensors(before, frozen.state_dict())


def test_frozen_features_depend_on_their_image_alone() -> None:
    frozen = Frozen(decompose(backbone("resnet"), 3)[0]).train()
    together = frozen(images())
    torch.testing.assert_close(torch.cat([frozen(x.unsqueeze(0)) for x in images()]), together)


def test_depth_counts_the_stages_after_the_first_in_any_sequence() -> None:
    """case 34: the docstring spoke of residual blocks where children are counted."""
    own = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    assert [len(decompose(own, depth)[0]) for depth in range(5)] == [0, 2, 3, 4, 5]
    assert decompose.__doc__ is not None
    assert "Stages are the children of `model`" in decompose.__doc__
    assert "residual blocks of `slim_resnet18`" in decompose.__doc__


def test_a_model_of_one_stage_is_all_tail() -> None:
    """case 34: depth 0 was refused, and the message asked for an integer from 0 to -1."""
    trunk, tail = decompose(nn.Sequential(nn.Linear(2, 2)), 0)
    assert (len(trunk), len(tail)) == (0, 1)
    with pytest.raises(ConfigError, match="an integer from 0 to 0; found 1"):
        decompose(nn.Sequential(nn.Linear(2, 2)), 1)
