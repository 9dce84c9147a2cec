"""From a configuration to a strategy."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from hypertail.errors import ConfigError
from hypertail.hyper import Curvature, Hypernetwork
from hypertail.lab.experiments.config import RunConfig
from hypertail.nets import decompose, slim_resnet18
from hypertail.nets.resnet import Norm
from hypertail.recipes.method import Method, settled
from hypertail.seeds import seeded
from hypertail.strategies import (
    EWC,
    Joint,
    LatentReplay,
    Naive,
    Optimisation,
    OutputPenalty,
    Pace,
    PartialHypernet,
    Separate,
    Strategy,
    Trunk,
)
from hypertail.streams import Stream


def build_model(
    config: RunConfig, stream: Stream, classes: int, *purpose: object, norm: Norm = "batch"
) -> nn.Sequential:
    """A freshly initialised main model whose weights follow from seed and purpose, channels-last."""
    with seeded(config.seed, *purpose):
        model = slim_resnet18(classes, channels=stream.image_shape[0], norm=norm)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


class Parts(NamedTuple):
    """What builders of strategies start from: a fresh model, cut at the depth if the strategy has one."""

    config: RunConfig
    stream: Stream
    device: torch.device | str
    model: nn.Sequential
    trunk: Trunk | None
    tail: nn.Module | None


def build_strategy(
    config: RunConfig, stream: Stream, trunk: nn.Module | None, device: torch.device | str = "cpu"
) -> Strategy:
    """The strategy of a run.

    Args:
        config: of the run.
        stream: gives image channels and class counts.
        trunk: the trunk trained on e_1, or None where the strategy trains its own (or has none).
        device: where it is to learn.

    Raises:
        ConfigError: the heads are narrower than a task.
    """
    width = config.method.head_width or stream.max_classes
    if width < stream.max_classes:
        raise ConfigError(
            "width of the heads",
            required=f"at least {stream.max_classes} outputs, the most classes of a task in the stream",
            found=str(width),
            hint="Leave --head-width out, or give more.",
        )
    model = build_model(config, stream, width, "model").to(device)
    if config.depth is None:
        return BUILDERS[config.strategy](Parts(config, stream, device, model, None, None))
    fresh_trunk, tail = decompose(model, config.depth)
    if config.strategy == "hn" and config.method.norm == "instance":
        # in the authors' code only generated layers see batches of one
        instance = build_model(config, stream, width, "model", norm="instance").to(device)
        tail = decompose(instance, config.depth)[1]
    if trunk is None:
        own = Trunk(fresh_trunk, learns=True, statistics=config.method.trunk_statistics)
    else:
        own = Trunk(trunk.to(device), learns=False)
    return BUILDERS[config.strategy](Parts(config, stream, device, model, own, tail))


def _optimisation(config: RunConfig, lr: float | None = None) -> Optimisation:
    method = config.method
    rates = {"trunk": method.lr} if config.depth is not None else {}
    # nothing but the bias belongs to a task where a classifier is generated whole
    owns = config.strategy == "hn" and (config.depth != 4 or method.at(4).classifier_rank)
    if method.task_lr is not None and owns:
        rates |= {"task": method.task_lr}
    return Optimisation(lr or method.lr, method.schedule, method.optimizer_state, rates=rates)


def _tail_optimisation(config: RunConfig) -> Optimisation:
    return _optimisation(config, config.method.classifier_lr if config.depth == 4 else None)


def _naive(parts: Parts) -> Strategy:
    return Naive(parts.model, _optimisation(parts.config), seed=parts.config.seed)


def _ewc(parts: Parts) -> Strategy:
    method = parts.config.method
    return EWC(
        parts.model,
        _optimisation(parts.config),
        weight=method.ewc_weight,
        fisher_samples=method.fisher_samples,
        seed=parts.config.seed,
    )


def _joint(parts: Parts) -> Strategy:
    return Joint(parts.model, _optimisation(parts.config), seed=parts.config.seed)


def _separate(parts: Parts) -> Strategy:
    assert parts.trunk is not None
    tails = _tails(parts.config, parts.stream, parts.device)
    pace = Pace(settled(parts.config.method.at(parts.config.depth).reference_steps))
    return Separate(parts.trunk, tails, _tail_optimisation(parts.config), pace=pace)


def _latent_replay(parts: Parts) -> Strategy:
    assert parts.trunk is not None
    assert parts.tail is not None
    method = parts.config.method
    return LatentReplay(
        parts.trunk,
        parts.tail,
        _tail_optimisation(parts.config),
        capacity=method.buffer or 2 * sum(len(experience.classes) for experience in parts.stream),
        replay_batch=method.replay_batch,
        coefficient=method.replay_coefficient,
        policy=method.buffer_policy,
        seed=parts.config.seed,
    )


def _partial_hypernet(parts: Parts) -> Strategy:
    assert parts.trunk is not None
    assert parts.tail is not None
    config, method = parts.config, parts.config.method.at(parts.config.depth)
    with seeded(config.seed, "hypernetwork"):
        hyper = build_hypernetwork(method, parts.tail, len(parts.stream)).to(parts.device)
    output = OutputPenalty(method.output_weight, method.output_tasks, method.output_share)
    return PartialHypernet(
        parts.trunk,
        parts.tail,
        hyper,
        _optimisation(config, method.hyper_lr),
        penalty_weight=settled(method.penalty_weight),
        pace=Pace(settled(method.reference_steps)),
        reduction=method.reduction,
        penalty_form=method.penalty_form,
        lookahead=method.lookahead,
        virtual_step=method.virtual_step,
        combine=method.combine,
        new_embedding=method.new_embedding,
        channel_vectors=method.channel_vectors,
        output=output if method.output_weight else None,
        curvature=Curvature(settled(method.damping)) if method.curvature else None,
        per_sample=method.per_sample,
        record_cosine=method.record_cosine,
        seed=config.seed,
    )


BUILDERS: dict[str, Callable[[Parts], Strategy]] = {
    "naive": _naive,
    "ewc": _ewc,
    "lr": _latent_replay,
    "hn": _partial_hypernet,
    "separate": _separate,
    "joint": _joint,
}
"""How each strategy of `hypertail.lab.experiments.config.STRATEGIES` is built."""


def build_hypernetwork(method: Method, tail: nn.Module, tasks: int) -> Hypernetwork:
    """A hypernetwork for `tail` with the sizes of the method, which is that of a depth (`Method.at`)."""
    return Hypernetwork.for_tail(
        tail,
        tasks,
        embedding=method.embedding,
        mlp=method.mlp,
        rank=method.rank,
        code=method.code,
        vectors=method.vectors,
        adapter_rank=settled(method.adapter_rank),
        classifier_rank=settled(method.classifier_rank),
        init=method.init,
    )


def _tails(config: RunConfig, stream: Stream, device: torch.device | str) -> Callable[[int, int], nn.Module]:
    def build(task: int, classes: int) -> nn.Module:
        # the tail of e_1 belongs to the model whose trunk learns with it
        purpose = ("model",) if task == 0 else ("tail", task)
        return decompose(build_model(config, stream, classes, *purpose), config.depth)[1].to(device)

    return build
