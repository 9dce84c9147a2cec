"""How the backbone of a bank that is given none is best trained: rate and passes, on held-out images.

    python results/bank/own_backbone.py --data DATA --out FILE.json

A bank without a model trains a slim ResNet-18 on its first task. Four tasks of five classes of CIFAR-100 follow one
another; the accuracy is of the three that the backbone has not seen, on training images that none of them learned from.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from functools import partial
from pathlib import Path

import torch

import hypertail as ht
from hypertail.bank.learning import found
from hypertail.environment import hardware, versions
from hypertail.strategies import Optimisation
from hypertail.strategies.parts.optimisation import Schedule

KINDS: tuple[tuple[Schedule, int], ...] = (("cosine", 20), ("constant", 20), ("constant", 60))


def accuracies(stream: ht.Stream, images: int, method: str, seed: int) -> list[float]:
    """Of each task after the first, on a hundred images of each class that come after the first `images`."""
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        bank = ht.Bank.create(Path(folder, "bank"))
        for experience in stream:
            taken, left = [], []
            for label in range(len(experience.classes)):
                of_class = (experience.train.labels == label).nonzero().squeeze(1)
                taken.append(of_class[:images])
                left.append(of_class[-100:])
            learn, held = torch.cat(taken), torch.cat(left)
            pixels, labels = experience.train.images, experience.train.labels
            name = f"task{experience.task}"
            bank.learn(name, (pixels[learn], labels[learn]), method=method, augment="crop-flip", seed=seed)
            if experience.task:
                answers = bank.predict(pixels[held], task=name)
                right = [int(answer.label) == int(label) for answer, label in zip(answers, labels[held], strict=True)]
                measured.append(statistics.mean(right))
    return measured


def _as_told(told: Schedule, schedule: Schedule) -> Optimisation:
    return Optimisation(schedule=told)


def main() -> None:
    """Measure every kind with every seed, and write one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, nargs="+", default=[40, 150])
    parser.add_argument("--method", default="adapter")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    rows = []
    for seed in given.seeds:
        stream = ht.build_stream("split-cifar100", data=given.data, experiences=4, seed=seed)
        for images in given.images:
            for schedule, epochs in KINDS:
                found.SLIM_EPOCHS = epochs
                found.Optimisation = partial(_as_told, schedule)  # type: ignore[assignment, misc]
                measured = accuracies(stream, images, given.method, seed)
                row = {"seed": seed, "images": images, "schedule": schedule, "epochs": epochs, "accuracy": measured}
                rows.append(row)
                print(json.dumps(row), flush=True)
    content = {"method": given.method, "rows": rows, "hardware": hardware(), "versions": versions()}
    given.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
