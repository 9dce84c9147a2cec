"""From a configuration to a strategy."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from hypertail.hyper import Hypernetwork
from hypertail.lab.config import RunConfig
from hypertail.nets import decompose, slim_resnet18
from hypertail.seeds import seeded_init
from hypertail.strategies import (
    EWC,
    Joint,
    LatentReplay,
    Naive,
    Optimisation,
    OutputPenalty,
    PartialHypernet,
    Separate,
    Strategy,
    Trunk,
)
from hypertail.streams import Stream


def build_model(config: RunConfig, stream: Stream, classes: int, *purpose: object) -> nn.Sequential:
    """A freshly initialised main model whose weights follow from seed and purpose, channels-last."""
    with seeded_init(config.seed, *purpose):
        model = slim_resnet18(classes, channels=stream.image_shape[0], norm=config.method.norm)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def build_strategy(
    config: RunConfig, stream: Stream, trunk: nn.Module | None, device: torch.device | str = "cpu"
) -> Strategy:
    """The strategy of a run.

    Args:
        config: of the run.
        stream: gives image channels and class counts.
        trunk: the trunk trained on e_1, or None where the strategy trains its own (or has none).
        device: where it is to learn.
    """
    method, seed = config.method, config.seed
    optimisation = Optimisation(method.lr, method.schedule, method.optimizer_state)
    width = method.head_width or stream.max_classes
    model = build_model(config, stream, width, "model").to(device)
    if config.strategy == "naive":
        return Naive(model, optimisation, seed=seed)
    if config.strategy == "ewc":
        return EWC(
            model, optimisation, weight=method.ewc_weight, fisher_samples=method.fisher_samples, seed=seed
        )
    if config.strategy == "joint":
        return Joint(model, optimisation, seed=seed)
    fresh_trunk, tail = decompose(model, config.depth)
    if trunk is None:
        own = Trunk(fresh_trunk, learns=True, statistics=method.trunk_statistics)
    else:
        own = Trunk(trunk.to(device), learns=False)
    if config.strategy == "separate":
        return Separate(own, _tails(config, stream, device), optimisation)
    if config.strategy == "lr":
        capacity = method.buffer or 2 * sum(len(experience.classes) for experience in stream)
        return LatentReplay(
            own,
            tail,
            optimisation,
            capacity=capacity,
            replay_batch=method.replay_batch,
            coefficient=method.replay_coefficient,
            policy=method.buffer_policy,
            seed=seed,
        )
    with seeded_init(seed, "hypernetwork"):
        hyper = build_hypernetwork(config, tail, len(stream)).to(device)
    output = OutputPenalty(method.output_weight, method.output_tasks, method.output_share)
    return PartialHypernet(
        own,
        tail,
        hyper,
        optimisation,
        penalty_weight=method.penalty_weight,
        reduction=method.reduction,
        penalty_form=method.penalty_form,
        lookahead=method.lookahead,
        virtual_step=method.virtual_step,
        combine=method.combine,
        new_embedding=method.new_embedding,
        output=output if method.output_weight else None,
        per_sample=method.per_sample,
        record_cosine=method.record_cosine,
        seed=seed,
    )


def build_hypernetwork(config: RunConfig, tail: nn.Module, tasks: int) -> Hypernetwork:
    """A hypernetwork for `tail` with the sizes of the method."""
    method = config.method
    return Hypernetwork(
        {name: tuple(parameter.shape) for name, parameter in tail.named_parameters()},
        tasks,
        embedding=method.embedding,
        mlp=method.mlp,
        rank=method.rank,
        code=method.code,
        init=method.init,
    )


def _tails(config: RunConfig, stream: Stream, device: torch.device | str) -> Callable[[int, int], nn.Module]:
    def build(task: int, classes: int) -> nn.Module:
        # the tail of e_1 belongs to the model whose trunk learns with it
        purpose = ("model",) if task == 0 else ("tail", task)
        return decompose(build_model(config, stream, classes, *purpose), config.depth)[1].to(device)

    return build
