"""A tail without its classifier, where it has one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hypertail.nets import decompose
from hypertail.nets.body import without_classifier
from support.banks import SIZE, SmallTransformer, resnet, transformer

PROBE = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    """A pre-norm transformer block of one's own, whose last layer is linear."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.fc1, self.fc2 = nn.LayerNorm(16), nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fc2(torch.relu(self.fc1(self.norm(x))))


class Headless(SmallTransformer):
    """A transformer that ends with its class token."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Identity()


class Gated(nn.Module):
    """Squeeze and excitation: the last linear layer gives the gates."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)
        self.down, self.up = nn.Linear(8, 2), nn.Linear(2, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(torch.relu(self.stem(x)))
        gates = torch.sigmoid(self.up(torch.relu(self.down(x.mean((2, 3))))))
        return (x * gates[:, :, None, None]).mean((2, 3))


def torch_transformer() -> nn.Module:
    model = transformer()
    model.norm, model.head = nn.Identity(), nn.Identity()  # type: ignore[assignment]
    return model


HEADLESS = {"transformer": (Headless, "blocks.1"), "torch": (torch_transformer, "blocks.1"), "gates": (Gated, "conv")}


@pytest.mark.parametrize("name", HEADLESS)
def test_a_model_without_a_classifier_gives_what_it_gave(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    make, cut = HEADLESS[name]
    model = make().eval()
    trunk, tail = decompose(model, cut=cut)
    features = trunk(PROBE)
    body, layer = without_classifier(tail, features)
    assert layer is None
    assert torch.equal(body(features.clone()), model(PROBE))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("make", "cut"), [(resnet, "layer2"), (transformer, "blocks.1")])
def test_a_classifier_is_taken_off(make: type[nn.Module], cut: str) -> None:
    model = make().eval()
    trunk, tail = decompose(model, cut=cut)
    body, layer = without_classifier(tail, trunk(PROBE))
    assert layer is not None
    assert torch.equal(layer(body(trunk(PROBE))), model(PROBE))
