"""The ResNets for CIFAR of He et al. (2015, section 4.2) as a sequence of stages, of which pretrained weights exist."""

from __future__ import annotations

from collections import OrderedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from hypertail.nets.resnet import Norm, normalisation


class PaddedBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut without weights (option A).

    Where the block has stride 2 the shortcut takes every second pixel, and zeros for the channels that are new.
    """

    def __init__(self, channels_in: int, channels: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = normalisation(norm, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = normalisation(norm, channels)
        self.stride, self.more = stride, (channels - channels_in) // 2

    def forward(self, x: Float[Tensor, "batch in h w"]) -> Float[Tensor, "batch out h2 w2"]:
        """The block's output."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more, self.more))
        return F.relu(y + x)


def cifar_resnet(classes: int, *, blocks: int = 3, channels: int = 3, norm: Norm = "batch") -> nn.Sequential:
    """A ResNet of 6n + 2 layers with the children `stem`, `layer1`, `layer2`, `layer3`, `classifier`.

    The layers have 16, 32 and 64 channels and strides 1, 2, 2. Of images of 32 pixels the features at depth 2, where
    `layer3` begins, are (32, 16, 16). Source: https://arxiv.org/abs/1512.03385

    Args:
        classes: outputs of the linear classifier.
        blocks: n, the blocks of each layer: 3 for 20 layers, 9 for 56.
        channels: channels of the input images.
        norm: `batch`, or `instance`: what batch normalisation is on batches of one image.
    """
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    stages["stem"] = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, 16, 3, 1, 1, bias=False), bn1=normalisation(norm, 16), relu=nn.ReLU(inplace=True)
        )
    )
    before = 16
    for number, (width, stride) in enumerate(((16, 1), (32, 2), (64, 2)), start=1):
        first = PaddedBlock(before, width, stride, norm)
        stages[f"layer{number}"] = nn.Sequential(
            first, *(PaddedBlock(width, width, 1, norm) for _ in range(blocks - 1))
        )
        before = width
    stages["classifier"] = nn.Sequential(
        OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), linear=nn.Linear(before, classes))
    )
    model = nn.Sequential(stages)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            torch.nn.init.kaiming_normal_(module.weight)
    return model


def stage_of(name: str) -> str:
    """The name here of a tensor in the published weights (github.com/akamaster/pytorch_resnet_cifar10)."""
    if name.startswith(("conv1.", "bn1.")):
        return f"stem.{name}"
    return f"classifier.{name}" if name.startswith("linear.") else name
