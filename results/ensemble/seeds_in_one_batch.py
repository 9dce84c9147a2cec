"""Several seeds of one run: a step of each, apart or as one batch (`torch.func.vmap`), on one CPU thread."""

from __future__ import annotations

from statistics import median
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn.functional import cross_entropy

from hypertail.nets.decompose import decompose
from hypertail.nets.models import main_model

SEEDS, BATCH, CLASSES = 3, 64, 5
CASES = {"tail at depth 4": 4, "tail at depth 3": 3, "tail at depth 2": 2, "whole model": 0}
"""What learns -> frozen blocks of the slim ResNet-18; 0: none, not even its stem."""


def _learner(depth: int, seed: int) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(seed)
    trunk, tail = decompose(main_model("slim-resnet18").build(CLASSES, channels=3, norm="batch"), depth)
    for module in tail.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics of the batch: vmap changes no buffer in place
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
    return (nn.Identity(), tail) if depth == 0 else (trunk, tail)


def measure(depth: int, repeats: int) -> tuple[float, float, float]:
    """Milliseconds of a step of every seed apart, together, and the median ratio."""
    learners = [_learner(depth, seed) for seed in range(SEEDS)]
    with torch.no_grad():
        inputs = torch.stack([trunk(torch.randn(BATCH, 3, 32, 32)) for trunk, _ in learners])
    labels = torch.randint(0, CLASSES, (SEEDS, BATCH))
    tails = [tail for _, tail in learners]
    stacked = {name: value.detach() for name, value in stack_module_state(tails)[0].items()}

    def loss(parameters: dict[str, Tensor], images: Tensor, classes: Tensor) -> Tensor:
        return cross_entropy(functional_call(tails[0], parameters, (images,)), classes)

    gradients = vmap(grad(loss))

    def apart() -> None:
        for tail, images, classes in zip(tails, inputs, labels, strict=True):
            tail.zero_grad()
            cross_entropy(tail(images), classes).backward()

    def together() -> None:
        gradients(stacked, inputs, labels)

    times: list[tuple[float, float]] = []
    for _ in range(repeats + 1):
        began = perf_counter()
        apart()
        between = perf_counter()
        together()
        times.append((between - began, perf_counter() - between))
    del times[0]  # loads what torch loads once
    ones, others = zip(*times, strict=True)
    return 1e3 * median(ones), 1e3 * median(others), median(one / other for one, other in times)


def main() -> None:
    """Print a line for each case."""
    torch.set_num_threads(1)
    for name, depth in CASES.items():
        one, other, ratio = measure(depth, 200 if depth == 4 else 15)
        print(f"{name}: apart {one:.1f} ms, together {other:.1f} ms, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
