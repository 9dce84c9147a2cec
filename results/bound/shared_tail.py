"""What sharing a tail could bring at best: one tail learned with all tasks at once, held-out accuracy.

python results/bound/shared_tail.py DATA [--rate 1e-3] [--times 1]

Convolutions of the tail are shared by all tasks; scales, shifts, statistics and classifier belong to each task, as an
adapter's do. Slim ResNet-18, trunk of e_1, depth 3, Split-CIFAR100, 20 images a class to learn and 40 to measure, 40
epochs, batch 32, seed 0. Measured in notebook/2026-11-27-a-better-start.md.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hypertail.lab.experiments.config import RunConfig, expand
from hypertail.lab.experiments.place import DataPlace, stream_of
from hypertail.lab.experiments.trunks import trained_trunk
from hypertail.training.features.cache import FeatureCache

BASE = RunConfig(
    "split-cifar100", "naive", epochs=40, images_per_class=60, validation=0.6667, measure_on="validation", batch_size=32
)
VIEWS, GROUP, OWN_RATE = 5, 5, 1e-2
"""Kept augmentations; tasks whose gradients make one step; rate of what belongs to a task."""


def sharing(tail: nn.Module, classes: list[int], width: int) -> list[nn.Sequential]:
    """A model above the trunk for each task, all with the same convolutions."""
    models = []
    for count in classes:
        own, head = copy.deepcopy(tail), nn.Linear(width, count)
        for mine, common in zip(own.modules(), tail.modules(), strict=True):
            if isinstance(mine, nn.Conv2d) and isinstance(common, nn.Conv2d):
                mine.weight = common.weight
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        models.append(nn.Sequential(own, head))
    return models


def learn(
    models: list[nn.Sequential], views: list[list[Tensor]], labels: list[Tensor], rate: float, times: int
) -> None:
    """All tasks at once, batches of a few tasks together."""
    shared = {part.weight for part in models[0].modules() if isinstance(part, nn.Conv2d)}
    own = [parameter for model in models for parameter in model.parameters() if parameter not in shared]
    optimizer = torch.optim.Adam([{"params": list(shared), "lr": rate}, {"params": own, "lr": OWN_RATE}])
    epochs, size, images = BASE.epochs * times, BASE.batch_size, len(labels[0])
    batches = -(-images // size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches)
    random = torch.Generator().manual_seed(0)
    for epoch in range(epochs):
        orders = [torch.randperm(images, generator=random) for _ in models]
        for batch in range(batches):
            for first in range(0, len(models), GROUP):
                optimizer.zero_grad()
                for task in range(first, min(first + GROUP, len(models))):
                    rows = orders[task][batch * size : (batch + 1) * size]
                    cross_entropy(models[task](views[task][epoch % VIEWS][rows]), labels[task][rows]).backward()
                optimizer.step()
            schedule.step()


@torch.no_grad()
def right(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Percent."""
    return 100 * float((model.eval()(inputs).argmax(1) == labels).double().mean())


def main() -> None:
    """Learn and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of datasets")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate of what is shared")
    parser.add_argument("--times", type=int, default=1, help="times the epochs")
    parser.add_argument("--trunks", type=Path, default=Path("runs/trunks"), help="folder of trained trunks")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    [config] = expand(["separate"], ["3"], [0], BASE)
    stream = stream_of(config, DataPlace(given.data))
    trunk, _, tail, _ = trained_trunk(config, stream, given.trunks, torch.device("cpu"))
    cache = FeatureCache(seed=0, views=VIEWS)
    cache.set_trunk(trunk)
    views = [[cache.train(each, view).clone() for view in range(VIEWS)] for each in stream]
    tests = [cache.test(each, "validation") for each in stream]
    models = sharing(tail, [len(each.classes) for each in stream], tail.eval()(tests[0][:2]).shape[1])
    for model in models:
        model.train()
    learn(models, views, [each.train.labels for each in stream], given.rate, given.times)
    pairs = zip(models, tests, stream, strict=True)
    print(f"{fmean(right(model, test, each.examples('validation').labels) for model, test, each in pairs):.1f} %")


if __name__ == "__main__":
    main()
