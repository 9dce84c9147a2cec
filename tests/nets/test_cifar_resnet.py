"""The ResNets for CIFAR: equal to their published form, tensor by tensor and number by number."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hypertail.nets import decompose
from hypertail.nets.cifar_resnet import cifar_resnet, stage_of
from hypertail.nets.models import main_model


class Published(nn.Module):
    """The network as its weights were published: one module, names of tensors as in the files."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        for number, (before, out) in enumerate(((16, 16), (16, 32), (32, 64)), start=1):
            layer = nn.Sequential()
            for place in range(blocks):
                block = nn.Module()
                into, stride = (before, 1 if number == 1 else 2) if place == 0 else (out, 1)
                block.conv1, block.bn1 = nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
                block.conv2, block.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
                layer.append(block)
            setattr(self, f"layer{number}", layer)
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        for layer in (self.layer1, self.layer2, self.layer3):
            for block in layer:
                y = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
                if y.shape != x.shape:
                    more = (y.shape[1] - x.shape[1]) // 2
                    x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, more, more))
                x = F.relu(y + x)
        return self.linear(x.mean((2, 3)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("blocks", [3, 9])
def test_it_is_the_published_network(blocks: int) -> None:
    torch.manual_seed(0)
    published = Published(blocks).double().eval()
    for name, buffer in published.named_buffers():
        if name.endswith(("mean", "var")):
            buffer.copy_(torch.rand(buffer.shape) + 0.5)
    model = cifar_resnet(10, blocks=blocks).double().eval()
    model.load_state_dict({stage_of(name): value for name, value in published.state_dict().items()})
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(model(images), published(images))
    assert sum(parameter.numel() for parameter in model.parameters()) == {3: 269_722, 9: 853_018}[blocks]


def test_where_it_is_cut() -> None:
    trunk, tail = decompose(main_model("cifar-resnet20").build(5, channels=3, norm="batch"), 2)
    assert list(trunk._modules) == ["stem", "layer1", "layer2"]
    assert list(tail._modules) == ["layer3", "classifier"]
    with torch.no_grad():
        assert trunk(torch.zeros(2, 3, 32, 32)).shape == (2, 32, 16, 16)


def test_instance_normalisation_keeps_no_statistics() -> None:
    model = main_model("cifar-resnet20").build(5, channels=1, norm="instance")
    assert not list(model.buffers())
    assert model(torch.zeros(2, 1, 32, 32)).shape == (2, 5)
