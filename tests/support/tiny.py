"""A tiny stream, tiny backbones and every strategy at toy size, for tests that train."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hypertail.hyper import Hypernetwork
from hypertail.nets import decompose, slim_resnet18
from hypertail.nets.body import headless
from hypertail.seeds import generator, seeded
from hypertail.strategies import (
    EWC,
    Adapters,
    Joint,
    LatentReplay,
    Lda,
    LwF,
    Naive,
    Optimisation,
    OutputPenalty,
    Pace,
    PartialHypernet,
    Separate,
    Strategy,
    Trunk,
)
from hypertail.strategies.lda import Described
from hypertail.streams import Examples, Experience, Stream
from hypertail.training.features.cache import FeatureCache
from hypertail.training.result import Result
from hypertail.training.stop import Stop
from hypertail.training.trainer import Trainer


def plain(images: Tensor, generator: torch.Generator) -> Tensor:
    """Pixels as floats in -1..1; draws nothing."""
    return images.float() / 127.5 - 1


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """`plain`, each image mirrored or not, and brighter or darker."""
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    gain = 0.8 + 0.4 * torch.rand(len(images), generator=generator)
    floats = plain(images, generator) * gain.view(-1, 1, 1, 1)
    return torch.where(mirrored.view(-1, 1, 1, 1), floats.flip(-1), floats)


def tiny_examples(task: int, classes: int, per_class: int, size: int, seed: int, split: str) -> Examples:
    """`per_class` noisy copies of one random pattern per class, sorted by class."""
    images, labels = [], []
    for label in range(classes):
        pattern = torch.rand(3, size, size, generator=generator(seed, "pattern", task, label))
        noise = torch.rand(per_class, 3, size, size, generator=generator(seed, split, task, label))
        images.append((255 * (0.6 * pattern + 0.4 * noise)).to(torch.uint8))
        labels.append(torch.full((per_class,), label))
    return Examples(torch.cat(images), torch.cat(labels))


def tiny_stream(
    tasks: int = 3,
    classes: int | tuple[int, ...] = 2,
    *,
    per_class: int = 10,
    size: int = 8,
    seed: int = 0,
    validation: bool = False,
) -> Stream:
    """A stream of `tasks` experiences of noisy patterns; `classes` may differ from task to task."""
    counts = (classes,) * tasks if isinstance(classes, int) else classes
    experiences = [
        Experience(
            task,
            f"task{task}",
            tuple(f"class{label}" for label in range(count)),
            tiny_examples(task, count, per_class, size, seed, "train"),
            tiny_examples(task, count, per_class, size, seed, "test"),
            tiny_examples(task, count, 3, size, seed, "validation") if validation else None,
            augmented,
            plain,
        )
        for task, count in enumerate(counts)
    ]
    return Stream("tiny", tuple(experiences), (3, size, size))


def _resnet(classes: int) -> nn.Sequential:
    return slim_resnet18(classes, width=8)


def _instance(classes: int) -> nn.Sequential:
    return slim_resnet18(classes, width=8, norm="instance")


def _cnn(classes: int) -> nn.Sequential:
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    stages["first"] = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
    for number in range(4):
        conv = nn.Conv2d(6, 6, 3, 2 if number < 2 else 1, padding=1, bias=number % 2 == 0)
        stages[f"conv{number}"] = nn.Sequential(conv, nn.BatchNorm2d(6), nn.ReLU())
    stages["last"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, classes))
    return nn.Sequential(stages)


def _mlp(classes: int) -> nn.Sequential:
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    stages["first"] = nn.Sequential(nn.Flatten(), nn.Linear(192, 10), nn.Tanh())
    stages["wide"] = nn.Sequential(nn.Linear(10, 12), nn.BatchNorm1d(12), nn.Tanh())
    stages["layer_norm"] = nn.Sequential(nn.Linear(12, 12, bias=False), nn.LayerNorm(12), nn.Tanh())
    stages["third"] = nn.Sequential(nn.Linear(12, 12), nn.Tanh())
    stages["fourth"] = nn.Sequential(nn.Linear(12, 12), nn.Tanh())
    stages["head"] = nn.Linear(12, classes)
    return nn.Sequential(stages)


BACKBONES: dict[str, Callable[[int], nn.Sequential]] = {"resnet": _resnet, "cnn": _cnn, "mlp": _mlp}
"""Backbones of six stages for images (3, 8, 8): depths 0 to 4 exist for each."""
DEPTHS = (0, 1, 2, 3, 4)


def backbone(name: str, classes: int = 2, seed: int = 0) -> nn.Sequential:
    """A backbone initialised from `seed`, with normalisation layers that are not the identity."""
    with seeded(seed, "backbone"):
        model = _instance(classes) if name == "instance" else BACKBONES[name](classes)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.2, 0.2)
    return model


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every parameter."""
    return {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}


def hypernetwork(tail: nn.Module, tasks: int = 3, seed: int = 0, **options: Any) -> Hypernetwork:
    """A small hypernetwork for `tail`."""
    sizes: dict[str, Any] = {"embedding": 5, "mlp": (7, 6), "rank": 4} | options
    with seeded(seed, "hyper"):
        return Hypernetwork.for_tail(tail, tasks, **sizes)


Name = Literal["naive", "ewc", "lwf", "lr", "hn", "adapter", "lda", "separate", "joint"]
CONTINUAL: tuple[Name, ...] = ("naive", "ewc", "lwf", "lr", "hn", "adapter", "lda", "separate")
WITH_TRUNK: tuple[Name, ...] = ("lwf", "lr", "hn", "separate")


def build(
    name: Name,
    *,
    net: str = "cnn",
    depth: int = 2,
    classes: int = 2,
    tasks: int = 3,
    lr: float = 1e-2,
    schedule: Literal["constant", "cosine"] = "cosine",
    state: Literal["fresh", "kept"] = "fresh",
    rates: Mapping[str, float] | None = None,
    learns: bool = True,
    statistics: Literal["fixed", "batch"] = "fixed",
    code: Literal["additive", "product"] = "additive",
    adapter_rank: int = 0,
    begins: bool = False,
    output_weight: float = 0.0,
    layout: torch.memory_format = torch.contiguous_format,
    **options: Any,
) -> Strategy:
    """A freshly built strategy; `options` go to its constructor. The same arguments give the same strategy.

    With `begins` a hypernetwork adds to the tail's own weights, and each task has a classifier of its own.
    """

    def model(count: int, seed: int = 0) -> nn.Sequential:
        return backbone(net, count, seed).to(memory_format=layout)  # type: ignore[call-overload, no-any-return]

    optimisation = Optimisation(lr, schedule, state, rates=rates or {})
    if name == "naive":
        return Naive(model(classes), optimisation, **options)
    if name == "ewc":
        return EWC(model(classes), optimisation, **options)
    if name == "joint":
        return Joint(model(classes), optimisation, **options)
    first, tail = decompose(model(classes), depth)
    if name in ("adapter", "lda"):
        given, (body, width) = Trunk(first, learns=False), headless(tail)
        if name == "lda":
            return Lda(Trunk(Described(first, body), learns=False), **options)
        return Adapters(given, body, width, optimisation, rank=adapter_rank or 2, seed=0, **options)
    trunk = Trunk(first, learns=learns, statistics=statistics)
    if name == "lwf":
        return LwF(trunk, tail, optimisation, **options)
    if name == "lr":
        return LatentReplay(trunk, tail, optimisation, **({"capacity": 12, "replay_batch": 6} | options))
    if name == "separate":
        return Separate(trunk, lambda task, count: decompose(model(count, task), depth)[1], optimisation)
    output = OutputPenalty(output_weight) if output_weight else None
    base = {"base": dict(tail.named_parameters()), "own_classifier": True} if begins else {}
    hyper = hypernetwork(tail, tasks, code=code, adapter_rank=adapter_rank, **base)
    chosen: dict[str, Any] = {"penalty_weight": 0.5, "curvature": None, "pace": Pace(), "lookahead": "first"}
    chosen |= {"virtual_step": "sgd", "channel_vectors": "learned"}
    return PartialHypernet(trunk, tail, hyper, optimisation, output=output, **chosen | options)


class StopAfter(Stop):
    """A wish to stop that comes when it was asked for so many times: after each step, and after each experience."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        super().__init__()

    @property
    def requested(self) -> bool:
        """One time less."""
        self.left -= 1
        return self.left <= 0

    @requested.setter
    def requested(self, value: bool) -> None:
        """It comes by itself."""


class InterruptedRunError(Exception):
    """What ends a run half-way in a test."""


def train(
    strategy: Strategy,
    stream: Stream,
    *,
    epochs: int = 2,
    batch_size: int = 8,
    cache: FeatureCache | None = None,
    checkpoint: Path | None = None,
    stop_in: int | None = None,
    resume: bool = False,
    **options: Any,
) -> Result:
    """Run `strategy` over `stream`; `stop_in` raises `InterruptedRunError` in the first epoch of that experience."""

    def progress(done: int, total: int, text: str) -> None:
        if stop_in is not None and text.startswith(f"experience {stop_in + 1}/"):
            raise InterruptedRunError

    trainer = Trainer(
        stream,
        strategy,
        epochs=epochs,
        batch_size=batch_size,
        cache=cache,
        checkpoint=checkpoint,
        progress=progress,
        **options,
    )
    return trainer.run(resume=resume)
