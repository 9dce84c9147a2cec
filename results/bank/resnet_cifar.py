"""The CIFAR ResNet of He et al. (2015, section 4.2) as an engineer would have it, a module of one's own."""

from __future__ import annotations

import os

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut without weights."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.stride, self.more = stride, (out - channels) // 2

    def forward(self, x: Tensor) -> Tensor:
        """The output of the block."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.more, self.more))
        return F.relu(y + x)


class ResNet(nn.Module):
    """Three stages of n blocks with 16, 32 and 64 channels, for images of 32 pixels."""

    def __init__(self, blocks: int, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, blocks, 1)
        self.layer2 = self._stage(16, 32, blocks, 2)
        self.layer3 = self._stage(32, 64, blocks, 2)
        self.linear = nn.Linear(64, classes)

    @staticmethod
    def _stage(channels: int, out: int, blocks: int, stride: int) -> nn.Sequential:
        first = Block(channels, out, stride)
        return nn.Sequential(first, *(Block(out, out, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        x = F.avg_pool2d(x, x.size()[3])
        return self.linear(x.view(x.size(0), -1))


def resnet56(weights: str | None = None) -> ResNet:
    """The network of 56 layers with its CIFAR-10 weights; the file by default is named by RESNET56."""
    model = ResNet(9)
    file = weights or os.environ.get("RESNET56")
    if file:
        model.load_state_dict(load_file(file))
    return model.eval()


if __name__ == "__main__":
    print(resnet56()(torch.zeros(1, 3, 32, 32)).shape)
