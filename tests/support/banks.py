"""Small models, small tasks and banks of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from hypertail.bank import Bank, Preprocessing

SIZE = 12
PIXELS = Preprocessing(SIZE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
HUES = {"red": 0, "green": 1, "blue": 2, "dark": 3, "light": 4}


class Block(nn.Module):
    """A residual block whose shortcut pads channels in its forward."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.stride, self.more = stride, (out - channels) // 2

    def forward(self, x: Tensor) -> Tensor:
        """The output."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.more, self.more))
        return F.relu(y + x)


class SmallResNet(nn.Module):
    """A residual network with a forward of its own; width 8, then 16."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(Block(8, 8, 1))
        self.layer2 = nn.Sequential(Block(8, 16, 2), Block(16, 16, 1))
        self.linear = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.layer2(self.layer1(x))
        return self.linear(x.mean((2, 3)))


class SmallTransformer(nn.Module):
    """Patches, a class token, two encoder layers of torch, a norm and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.blocks = nn.ModuleList([nn.TransformerEncoderLayer(16, 2, 32, batch_first=True) for _ in range(2)])
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 7)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.size(0), -1, -1), x), 1)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


def resnet(seed: int = 0) -> SmallResNet:
    """The network with statistics that are not those it began with, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = SmallResNet().train()
        for _ in range(3):
            model(torch.randn(16, 3, SIZE, SIZE))
        return model.eval()


def transformer(seed: int = 0) -> SmallTransformer:
    """The network in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SmallTransformer().eval()


def pictures(classes: tuple[str, ...], count: int, seed: int = 0) -> tuple[Tensor, list[str]]:
    """Noisy images of a hue for each class, uint8 (n, 3, size, size), and the names of their classes."""
    random = torch.Generator().manual_seed(seed)
    images, labels = [], []
    for number, name in enumerate(classes):
        base = torch.full((3, 1, 1), 90.0)
        hue = HUES.get(name, number)
        if hue < 3:
            base[hue] = 200.0
        else:
            base[:] = 40.0 if hue == 3 else 215.0
        for _ in range(count):
            images.append((base + 25 * torch.randn(3, SIZE, SIZE, generator=random)).clamp(0, 255).to(torch.uint8))
            labels.append(name)
    return torch.stack(images), labels


def folder(place: Path, classes: tuple[str, ...], count: int, seed: int = 0) -> Path:
    """The same as a folder of class folders."""
    images, labels = pictures(classes, count, seed)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        (place / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(place / label / f"{number:03d}.png")
    return place


def new_bank(place: Path, model: nn.Module | None = None, cut: str = "layer2") -> Bank:
    """An empty bank on the small network."""
    return Bank.create(place, model=model or resnet(), cut=cut, preprocessing=PIXELS)


WARM, COLD = ("red", "green", "dark"), ("blue", "light")


def two_tasks(place: Path, **options: Any) -> Bank:
    """A bank with the tasks `warm`, of three classes, and `cold`, of two."""
    bank = new_bank(place)
    for name, classes in (("warm", WARM), ("cold", COLD)):
        bank.learn(name, pictures(classes, 16), **{"epochs": 12, "views": 2, "hold_out": 0.25, **options})
    return bank


def answers(bank: Bank, name: str) -> Tensor:
    """Logits of a task for images that follow from nothing but a seed."""
    random = torch.Generator().manual_seed(5)
    pixels = torch.randint(0, 256, (6, 3, SIZE, SIZE), generator=random, dtype=torch.uint8)
    return bank._contents.server.logits(name, pixels)
