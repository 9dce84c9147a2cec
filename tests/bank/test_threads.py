"""A bank that several threads ask at once, as a web server does."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor, nn

import hypertail as ht
from support.banks import COLD, PIXELS, WARM, pictures


class Waiting(nn.Module):
    """Lets other threads run for as long as it is told to."""

    seconds = 0.0

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(Waiting.seconds)
        return x


def parts() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
    return trunk, nn.Sequential(Waiting(), nn.Conv2d(8, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_threads_get_the_answers_of_one(tmp_path: Path) -> None:
    trunk, tail = parts()
    bank = ht.Bank.create(tmp_path / "bank", model=trunk, tail=tail, preprocessing=PIXELS)
    for name, classes in (("warm", WARM), ("cold", COLD)):
        bank.learn(name, pictures(classes, 8), epochs=4, views=1, options={"rank": 2})
    images = pictures((*WARM, *COLD), 1)[0]
    asked = ["warm", "cold", None]
    alone = [bank.predict(images, task) for task in asked]
    again = ht.Bank.open(tmp_path / "bank", model=trunk, tail=tail)
    try:
        Waiting.seconds = 0.01
        with ThreadPoolExecutor(4) as threads:
            found = [threads.submit(again.predict, images, asked[number % 3]) for number in range(18)]
            answers = [each.result() for each in found]
    finally:
        Waiting.seconds = 0.0
    for number, answer in enumerate(answers):
        assert answer == alone[number % 3], asked[number % 3]
