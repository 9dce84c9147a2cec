from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from hypertail.nets import Frozen, Standardise, decompose, folded
from support.asserts import assert_same_tensors, state_of
from support.tiny import backbone


def images(size: int = 8) -> Tensor:
    return torch.randn(6, 3, size, size, generator=torch.Generator().manual_seed(1))


def with_statistics(model: nn.Module) -> nn.Module:
    """`model` in evaluation mode, with normalisation statistics from some data."""
    with torch.no_grad():
        for _ in range(3):
            model.train()(images() * 2 + 1)
    return model.eval()


def norms(module: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in module.modules())


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("net", ["cnn", "resnet"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_folded_trunk_gives_the_same_features(net: str, depth: int, layout: torch.memory_format) -> None:
    model = with_statistics(backbone(net)).to(memory_format=layout)  # type: ignore[call-overload]
    trunk = Frozen(decompose(model, depth)[0])
    short = folded(trunk)
    torch.testing.assert_close(short(images()), trunk(images()), rtol=1e-5, atol=1e-5)
    assert norms(trunk) > 0
    assert norms(short) == 0
    for part in short.modules():
        if isinstance(part, nn.Conv2d):
            assert part.weight.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("net", ["cnn", "resnet"])
def test_folding_is_exact_but_for_rounding(net: str) -> None:
    trunk = with_statistics(backbone(net)[:4]).double()
    torch.testing.assert_close(folded(trunk)(images().double()), trunk(images().double()), rtol=1e-12, atol=1e-12)


def test_the_module_itself_stays_as_it_is() -> None:
    trunk = Frozen(with_statistics(backbone("resnet")[:3]))
    names, before = [name for name, _ in trunk.named_modules()], copy.deepcopy(state_of(trunk))
    modes = [part.training for part in trunk.modules()]
    folded(trunk)
    assert [name for name, _ in trunk.named_modules()] == names
    assert [part.training for part in trunk.modules()] == modes
    assert_same_tensors(state_of(trunk), before)


class Twice(nn.Sequential):
    """Its first stage is read twice: folding would be wrong."""

    def forward(self, x: Tensor) -> Tensor:
        inner = self[0](x)
        return self[1](inner) + inner


def conv_norm() -> list[nn.Module]:
    return [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)]


SHARED = nn.Conv2d(3, 3, 1)
ODD = {
    "a subclass with another forward": Twice(*conv_norm()),
    "statistics of the batch": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)),
    "instance normalisation": nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4, affine=True)),
    "normalisation first": nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)),
    "a plain module": nn.Flatten(),
}
USUAL = {
    "two normalisations": nn.Sequential(*conv_norm(), nn.BatchNorm2d(4)),
    "no scale and shift": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)),
    "groups and stride": nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1, groups=3, bias=False), nn.BatchNorm2d(6)),
    "a convolution used twice": nn.Sequential(SHARED, nn.BatchNorm2d(3), SHARED, nn.ReLU()),
    "nested": nn.Sequential(nn.Sequential(*conv_norm()), nn.ReLU(), Standardise(4)),
}


@pytest.mark.parametrize("module", [*ODD.values(), *USUAL.values()], ids=[*ODD, *USUAL])
def test_any_module_gives_the_same_after_folding(module: nn.Module) -> None:
    module = with_statistics(module)
    torch.testing.assert_close(folded(module)(images()), module(images()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("module", ODD.values(), ids=ODD)
def test_what_cannot_be_folded_is_left_alone(module: nn.Module) -> None:
    short = folded(module.eval())
    assert norms(short) == norms(module)


@pytest.mark.parametrize("module", USUAL.values(), ids=USUAL)
def test_what_can_be_folded_is(module: nn.Module) -> None:
    assert norms(folded(module.eval())) == 0


def test_a_module_in_training_mode_is_not_folded() -> None:
    module = nn.Sequential(*conv_norm()).train()
    assert norms(folded(module)) == 1
