"""Slim ResNet-18 (nf = 20) as a sequence of stages (section 4; Lopez-Paz & Ranzato, 2017)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

Norm = Literal["batch", "instance"]


def normalisation(kind: Norm, channels: int) -> nn.Module:
    """Batch normalisation, or what it is on batches of one image."""
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.InstanceNorm2d(channels, affine=True, track_running_stats=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut; the shortcut is a 1x1 convolution where shapes differ."""

    def __init__(self, channels_in: int, channels: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm1 = normalisation(norm, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = normalisation(norm, channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                OrderedDict(
                    conv=nn.Conv2d(channels_in, channels, 1, stride, bias=False), norm=normalisation(norm, channels)
                )
            )

    def forward(self, x: Float[Tensor, "batch in h w"]) -> Float[Tensor, "batch out h2 w2"]:
        """The block's output."""
        out = F.relu(self.norm1(self.conv1(x)), inplace=True)
        out = self.norm2(self.conv2(out))
        return F.relu(out + self.shortcut(x), inplace=True)


def slim_resnet18(classes: int, *, channels: int = 3, width: int = 20, norm: Norm = "batch") -> nn.Sequential:
    """Slim ResNet-18 with the children `stem`, `block1` .. `block4`, `classifier`.

    Residual blocks have width·(1, 2, 4, 8) channels, two `BasicBlock`s each and strides 1, 2, 2, 2; global
    average pooling belongs to `classifier`, so the features at depth 4 are (160, h/8, w/8) as in Table 6.

    Args:
        classes: outputs of the linear classifier.
        channels: channels of the input images.
        width: channels of the stem (nf).
        norm: `batch`, or `instance`: what batch normalisation is on batches of one image.
    """
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    stages["stem"] = nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(channels, width, 3, 1, 1, bias=False),
            norm=normalisation(norm, width),
            relu=nn.ReLU(inplace=True),
        )
    )
    channels_in = width
    for number, (factor, stride) in enumerate(((1, 1), (2, 2), (4, 2), (8, 2)), start=1):
        out = width * factor
        stages[f"block{number}"] = nn.Sequential(
            BasicBlock(channels_in, out, stride, norm), BasicBlock(out, out, 1, norm)
        )
        channels_in = out
    stages["classifier"] = nn.Sequential(
        OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), linear=nn.Linear(channels_in, classes))
    )
    model = nn.Sequential(stages)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model
