"""What the benchmark times: strategies brought to their last experience, and bare PyTorch loops beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hypertail.lab.benchmark.modes import MODES, Model
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.run import strategy_of
from hypertail.nets import Standardise, decompose, folded
from hypertail.recipes.build import build_model
from hypertail.recipes.shared import Optimiser
from hypertail.seeds import generator
from hypertail.strategies import PartialHypernet, Strategy, Task
from hypertail.streams import Compose, Examples, Experience, Normalise, RandomCrop, RandomFlip, Stream
from hypertail.training.features.cache import FeatureCache, take
from hypertail.training.precision import Precision, autocast

CLASSES, SIDE = 5, 32
MANY_STEPS = 100_000
"""Length of an experience as the schedule sees it: the learning rate stays where it starts."""

Step = Callable[[], Tensor]
"""Returns the loss, or features."""


@dataclass(frozen=True)
class Subject:
    """One thing to time: `step` is a whole optimizer step (or a forward pass); `strategy` what takes it, if any."""

    step: Step
    strategy: Strategy | None = None


def random_stream(tasks: int, train: int, test: int) -> Stream:
    """`tasks` experiences in the shape of Split-CIFAR100 (32x32 RGB, 5 classes); all share the same random pixels."""
    random = generator(0, "benchmark images")

    def examples(count: int) -> Examples:
        pixels = torch.randint(256, (count, 3, SIDE, SIDE), generator=random, dtype=torch.uint8)
        return Examples(pixels, torch.arange(count) % CLASSES)

    learned, measured = examples(train), examples(test)
    normalise = Normalise((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
    transforms = Compose((RandomCrop(4), RandomFlip(), normalise)), Compose((normalise,))
    classes = tuple(f"class {label}" for label in range(CLASSES))
    experiences = (
        Experience(task, f"task {task}", classes, learned, measured, None, *transforms) for task in range(tasks)
    )
    return Stream("random", tuple(experiences), (3, SIDE, SIDE))


def build_subject(
    mode: str, model: Model, *, tasks: int, batch: int, device: torch.device, precision: Precision = "full"
) -> Subject:
    """A step at the last of `tasks` experiences.

    Args:
        mode: one of `hypertail.lab.benchmark.modes.MODES`.
        model: strategy and depth.
        tasks: experiences of the stream.
        batch: images of a step.
        device: where it runs.
        precision: of the modes that run at the precision chosen for the model; others have their own.
    """
    chosen = MODES[mode]
    precision = chosen.precision_in(precision)
    stream = random_stream(tasks, train=max(16, batch), test=CLASSES)
    config = chosen.config(model, batch)
    trunk = None if chosen.on_images else fixed_trunk(config, stream, device)
    if chosen.what == "trunk":
        assert trunk is not None
        images, _ = _batch(stream, None, batch, device)
        # folded as where features are computed
        return Subject(torch.no_grad()(partial(folded(trunk), images)))
    if chosen.what == "bare":
        inputs, labels = _batch(stream, trunk, batch, device)
        return Subject(partial(_bare_step(config, stream, device, precision), inputs, labels))
    strategy = strategy_of(config, stream, trunk, device)
    for task in range(tasks - 1):
        strategy.begin(_task(strategy, stream, task, device))
        strategy.end(_task(strategy, stream, task, device))
    strategy.begin(_task(strategy, stream, tasks - 1, device))
    return _last_step(strategy, stream, batch, device, precision)


def build_at(tasks: int, depth: int, *, batch: int, device: torch.device, precision: Precision = "full") -> Subject:
    """A step of the tuned hypernetwork at the last of `tasks` experiences, however many.

    The earlier tasks get room, embeddings and statistics, but no experience of their own: beginning and ending
    a thousand of them would copy the hypernetwork a thousand times. The step does the same work.
    """
    stream = random_stream(tasks, train=max(16, batch), test=CLASSES)
    config = MODES["tuned"].config(("hn", depth), batch)
    strategy = strategy_of(config, stream, fixed_trunk(config, stream, device), device)
    assert isinstance(strategy, PartialHypernet)
    for task in range(tasks - 1):
        strategy.net.begin_task(task, CLASSES)
        strategy.hyper.begin_task(task, "fresh", generator(0, "embedding", task))
    strategy.net.trunk = strategy.trunk.module
    if strategy.curvature is not None:
        inputs, _ = _batch(stream, strategy.frozen_trunk, batch, device)
        strategy.curvature.update(strategy.net, 0, inputs, generator(0, "curvature"))
    strategy.begin(_task(strategy, stream, tasks - 1, device))
    return _last_step(strategy, stream, batch, device, precision)


def _last_step(strategy: Strategy, stream: Stream, batch: int, device: torch.device, precision: Precision) -> Subject:
    inputs, labels = _batch(stream, strategy.frozen_trunk, batch, device)

    def step() -> Tensor:
        # as the trainer takes it
        with autocast(precision, device):
            return strategy.step(inputs, labels, len(stream) - 1)

    return Subject(step, strategy)


def fixed_trunk(config: RunConfig, stream: Stream, device: torch.device) -> nn.Module | None:
    """A frozen trunk of random weights, standardised where the options ask for it; None for models without one."""
    if config.depth is None:
        return None
    trunk = (
        decompose(build_model(config.model, stream, CLASSES, config.seed, "model"), config.depth)[0].to(device).eval()
    )
    if not (config.options.get("standardise") and config.depth):
        return trunk
    features = _cache(trunk, device).plain(stream[0])
    standardise = Standardise(features.shape[1]).to(device)
    standardise.fit([features])
    return nn.Sequential(trunk, standardise)


def _bare_step(
    config: RunConfig, stream: Stream, device: torch.device, precision: Precision = "full"
) -> Callable[[Tensor, Tensor], Tensor]:
    """What anyone would write: forward, cross-entropy, backward, Adam, on the tail alone or the whole model."""
    model = build_model(config.model, stream, CLASSES, config.seed, "bare").to(device)
    tail = (model if config.depth is None else decompose(model, config.depth)[1]).train()
    adam = torch.optim.Adam(tail.parameters(), lr=config.options[Optimiser].lr, fused=True)

    def step(inputs: Tensor, labels: Tensor) -> Tensor:
        with autocast(precision, device):
            loss = F.cross_entropy(tail(inputs), labels)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        return loss.detach()

    return step


def bare_epoch(stream: Stream, batch: int, device: torch.device) -> Callable[[int], float]:
    """A hand-written epoch of the whole model with the stream's augmentation: its number -> the mean loss."""
    experience = stream[0]
    step = _bare_step(MODES["floor"].config(("naive", None), batch), stream, device)
    labels = experience.train.labels.to(device)

    def epoch(number: int) -> float:
        images = experience.train_transform(experience.train.images.to(device), generator(0, "bare views", number))
        rows = images.permute(0, 2, 3, 1).contiguous()
        order = torch.randperm(len(rows), generator=generator(0, "bare order", number)).to(device)
        losses = [step(rows[index].permute(0, 3, 1, 2), labels[index]) for index in order.split(batch)]
        return float(torch.stack(losses).mean())

    return epoch


def _task(strategy: Strategy, stream: Stream, task: int, device: torch.device) -> Task:
    def plain() -> tuple[Tensor, Tensor]:
        inputs = _cache(strategy.frozen_trunk, device).plain(stream[task])
        return inputs, stream[task].train.labels.to(device)

    return Task(task, CLASSES, MANY_STEPS, plain)


def _batch(stream: Stream, trunk: nn.Module | None, batch: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """A batch as the trainer hands it over: features where there is a frozen trunk, else images; channels-last."""
    experience = stream[len(stream) - 1]
    index = torch.arange(batch, device=device)
    return take(_cache(trunk, device).train(experience, 0), index), experience.train.labels.to(device)[index]


def _cache(trunk: nn.Module | None, device: torch.device) -> FeatureCache:
    cache = FeatureCache(seed=0, device=device)
    cache.set_trunk(trunk)
    return cache
