from __future__ import annotations

import copy
from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hypertail.errors import ConfigError
from hypertail.nets import check_cut, decompose
from hypertail.nets.cut import stage_named
from support.asserts import assert_same_tensors, state_of
from support.errors import refused
from support.tiny import BACKBONES, DEPTHS, backbone


class Net(nn.Module):
    """What people write: flattens, and works on functions, in `forward`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(self.pool(F.relu(self.norm(self.conv(x)))).flatten(1))
        return out


def images(count: int = 2) -> Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))


LOST = (
    "What a forward method does between its children (flatten, pooling, an activation) is lost when the children are "
    "put in a row: make it a stage of its own, such as nn.Flatten(). Stages must be the modules in the order in "
    "which forward calls them."
)


def test_children_in_a_row_that_lost_their_flatten_are_refused_by_stage_and_shape() -> None:
    """case 33: it was a shape error of torch at the first step."""
    model = nn.Sequential(OrderedDict(Net().named_children()))
    with pytest.raises(ConfigError) as caught:
        decompose(model, at="pool", probe=images())
    assert str(caught.value) == (
        "stage 'fc' of the model (Linear) cannot take what it is given: required inputs that fit the layer; "
        "found shape (2, 4, 1, 1): mat1 and mat2 shapes cannot be multiplied (8x1 and 4x2). " + LOST
    )


def test_children_in_a_row_that_lost_an_activation_give_other_numbers() -> None:
    """case 33: shapes fit, and nothing would ever have told."""
    model = Net().eval()
    model.norm.bias.data.fill_(-0.1)
    stages = OrderedDict(model.named_children())
    stages = OrderedDict(conv=model.conv, norm=model.norm, pool=model.pool, flatten=nn.Flatten(), fc=model.fc)
    trunk, tail = decompose(nn.Sequential(stages), at="pool", probe=images())
    with pytest.raises(ConfigError, match=r"trunk and tail are not the model: .* a difference of up to \d"):
        check_cut(model, trunk, tail, images())
    stages = OrderedDict(conv=model.conv, norm=model.norm, relu=nn.ReLU(), pool=model.pool, flat=nn.Flatten())
    stages["fc"] = model.fc
    check_cut(model, *decompose(nn.Sequential(stages), at="pool"), images())


def test_a_pair_of_modules_of_any_kind_can_be_checked() -> None:
    """case 33: trunk and tail need not be sequences."""

    class Tail(nn.Module):
        def __init__(self, net: Net) -> None:
            super().__init__()
            self.fc = net.fc

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.fc(F.relu(x).mean((2, 3)))
            return out

    net = Net()
    check_cut(net, nn.Sequential(net.conv, net.norm), Tail(net), images())
    with pytest.raises(ConfigError) as caught:
        check_cut(net, nn.Sequential(net.conv), nn.Linear(9, 2), images())
    assert str(caught.value) == (
        "tail (Linear) cannot take what it is given: required inputs that fit the layer; "
        "found shape (2, 4, 6, 6): mat1 and mat2 shapes cannot be multiplied (48x6 and 9x2). " + LOST
    )
    with pytest.raises(ConfigError, match=r"found shape \(2, 4\) where the model gives \(2, 2\)"):
        check_cut(net, nn.Sequential(net.conv, net.norm), nn.Sequential(net.pool, nn.Flatten()), images())


def test_a_stage_that_does_not_return_a_tensor() -> None:
    """case 33."""
    model = nn.Sequential(OrderedDict(flatten=nn.Flatten(), rnn=nn.LSTM(192, 4), fc=nn.Linear(4, 2)))
    with pytest.raises(ConfigError) as caught:
        decompose(model, at="rnn", probe=images())
    assert str(caught.value) == (
        "stage 'rnn' of the model (LSTM): required one tensor as its output; found tuple. "
        "Wrap the stage in a module that returns the one tensor the next stage needs."
    )


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("net", BACKBONES)
def test_probing_a_right_cut_changes_nothing(net: str, depth: int) -> None:
    """cases 28 and 33: neither statistics, nor modes, nor the probe, which a first stage may work on in place."""
    model = nn.Sequential(OrderedDict([("first", nn.ReLU(inplace=True)), *backbone(net).train().named_children()]))
    probe = images() - 0.5
    before, kept = state_of(model), probe.clone()
    decompose(model, depth, probe=probe)
    assert_same_tensors(before, model.state_dict())
    assert torch.equal(kept, probe)
    assert all(part.training for part in model.modules())


def test_a_module_used_twice_stands_twice() -> None:
    """case 33: its second use was left out without a word."""
    relu = nn.ReLU()
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 5), relu, nn.Linear(5, 5), relu, nn.Linear(5, 2))
    trunk, tail = decompose(model, at="3", probe=images())
    assert (len(trunk), len(tail)) == (3, 3)


def test_trunk_and_tail_that_share_a_layer_are_refused() -> None:
    """case 33: what is frozen would be generated too."""
    linear = nn.Linear(192, 192)
    model = nn.Sequential(OrderedDict(flat=nn.Flatten(), one=linear, two=nn.Tanh(), three=linear, fc=nn.Linear(192, 2)))
    with pytest.raises(ConfigError) as caught:
        decompose(model, at="three")
    assert str(caught.value) == (
        "trunk and tail share a layer: required parameters that belong to one of the two; found stages 'one' and "
        "'three' with the same tensor. Cut elsewhere, or copy the layer (copy.deepcopy) into one of the two stages."
    )
    decompose(model, at="one", probe=images())


def test_a_sequence_with_a_forward_of_its_own_is_refused() -> None:
    """case 33: tail(trunk(x)) was another function than the model."""

    class Scaled(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    with refused(ConfigError, problem="cut a Scaled", found="a forward method of its own", hint="cut="):
        decompose(Scaled(nn.Flatten(), nn.Linear(192, 2)), 0)


@pytest.mark.parametrize(
    ("error", "width"),
    [
        (RuntimeError("something else"), 3),  # running again goes well
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 4),
        (torch.OutOfMemoryError("CUDA out of memory"), 4),
        (RuntimeError("Expected all tensors to be on the same device"), 4),
        (RuntimeError("mat1 and mat2 must have the same dtype"), 4),
    ],
    ids=str,
)
def test_an_error_that_is_not_one_of_shapes_passes_as_it_is(error: RuntimeError, width: int) -> None:
    """case 33."""
    module = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(RuntimeError) as caught, stage_named("tail", module, torch.zeros(1, width)):
        raise error
    assert caught.value is error


def test_copies_are_cut_like_the_model() -> None:
    model = backbone("cnn")
    check_cut(model, *decompose(copy.deepcopy(model), 2), images())
