"""Two folders, months apart, on a residual network of one's own: learn, predict, certify, export, forget.

Run it in an empty folder: it makes a bank there.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

import hypertail as ht


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block's output."""
        return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


class Network(nn.Module):
    """What an engineer has; here with random weights, which a bank takes as it would pretrained ones."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.pool = nn.Conv2d(3, 16, 3, padding=1), nn.MaxPool2d(2)
        self.layer1, self.layer2, self.head = Block(16), Block(16), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        x = self.layer2(self.pool(self.layer1(self.stem(x))))
        return self.head(x.mean((2, 3)))


def network() -> Network:
    """The same weights in every process, as a file of weights would give."""
    torch.manual_seed(0)
    return Network().eval()


def write_folder(place: Path, classes: range) -> None:
    """Images of handwritten digits, a folder for each class."""
    digits = load_digits()
    for label in classes:
        (place / f"digit-{label}").mkdir(parents=True)
        for number, pixels in enumerate(digits.images[digits.target == label][:60]):
            Image.fromarray((pixels * 15).astype(np.uint8)).save(place / f"digit-{label}" / f"{number}.png")


def learn(name: str, folder: str) -> None:
    """What one process does: the bank is made by the first one."""
    place = Path("bank")
    if place.exists():
        bank = ht.Bank.open(place, model=network())
    else:
        pixels = ht.Preprocessing(size=16, mean=(0.5,) * 3, std=(0.5,) * 3)
        bank = ht.Bank.create(place, model=network(), cut="layer2", preprocessing=pixels)
    learned = bank.learn(name, folder, epochs=40)
    print(f"{name}: {learned.held_out_accuracy:.0%} of held-out images right, {learned.nbytes / 1000:.1f} kB")
    print(f"  earlier tasks: {learned.certificate or 'none'}")


if len(sys.argv) > 1:
    learn(*sys.argv[1:])
    sys.exit()

for name, classes in (("low", range(4)), ("high", range(4, 9))):
    write_folder(Path(name), classes)
    test = Path(name, "digit-4" if name == "high" else "digit-0", "0.png")
    shutil.copy(test, f"{name}.png")
    subprocess.run([sys.executable, __file__, name, name], check=True)
    shutil.rmtree(name)  # the images are not needed again

bank = ht.Bank.open("bank", model=network())
print(bank.predict("low.png", task="low"))
print(bank.predict(["low.png", "high.png"]))  # which task? it is inferred
certificate = bank.certify()
Path("certificate.html").write_text(certificate.page(), encoding="utf-8")  # a page for an auditor
print(certificate)
print(bank.summary())
bank.export("low", "low.pt2")  # a plain model: torch.export, or "low.onnx"
print(bank.forget("low").explanation)
