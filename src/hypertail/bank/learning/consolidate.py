"""Consolidation: the hypernetwork takes over what the adapters of its tasks have in common, without any image."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from hypertail.bank.backbone import Backbone
from hypertail.bank.methods.catalogue import tail_of
from hypertail.bank.record import TaskRecord
from hypertail.hyper.generated import GeneratedWeights, shared_parameters
from hypertail.hyper.hypernetwork import Hypernetwork
from hypertail.nets.compact import flattened, round_to_half
from hypertail.nets.task_tail import TaskTail
from hypertail.training.loop import Progress, silent

RATE, REPORTS = 1e-3, 20
SHRINK = 0.03
"""mu: how much an adapter costs, so that what tasks have in common goes to the hypernetwork."""


@dataclass(frozen=True, eq=False)
class Consolidated:
    """What came of it.

    Attributes:
        hyper: the hypernetwork, moved.
        records: of its tasks, with embeddings and adapters that fit it.
    """

    hyper: Hypernetwork
    records: dict[str, TaskRecord]


def consolidated(
    records: Mapping[str, TaskRecord],
    backbone: Backbone,
    hyper: Hypernetwork,
    steps: int,
    progress: Progress = silent,
) -> Consolidated:
    """Regress generated weights plus adapters onto the weights that tasks have now:

        min over psi, e_j and R_j of  sum_j (|| W + H(e_j) + R_j - W_j ||^2 + mu ||R_j||^2) / ||W_j - W||^2.

    H then holds what tasks have in common, and a new task begins with it. Scales, shifts and heads stay as they are.

    Args:
        records: of the tasks, by name; they are not changed.
        backbone: of the bank.
        hyper: which they share; it is not changed.
        steps: of Adam.
        progress: shown to the user.
    """
    moved = copy.deepcopy(hyper)
    tails = {name: tail_of(record, backbone, moved) for name, record in records.items()}
    before = {name: tail_of(record, backbone, hyper) for name, record in records.items()}
    targets = {name: {n: tail.weights()[n].detach() for n in hyper.shapes} for name, tail in before.items()}
    base = {name: value.detach() for name, value in backbone.body.named_parameters()}
    sizes = {
        name: sum((value - base[n]).square().sum() for n, value in wanted.items()) + 1e-12
        for name, wanted in targets.items()
    }
    learned: list[nn.Parameter] = list(shared_parameters(moved).values())
    for tail in tails.values():
        learned += [value for name, value in tail.weights.named_parameters() if not _is_vector(name)]
    for parameter in learned:
        parameter.requires_grad_(True)
    adam = torch.optim.Adam(learned, lr=RATE)
    for step in range(steps):
        for group in adam.param_groups:
            group["lr"] = RATE * (1 - step / steps)
        loss = torch.stack([_distance(tails[name], targets[name], base) / sizes[name] for name in tails]).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        if (step + 1) % max(1, steps // REPORTS) == 0:
            progress(step + 1, steps, f"distance {float(loss.detach()):.2g} of what tasks changed")
    moved.requires_grad_(False)
    round_to_half(moved)
    kept = {}
    for name, tail in tails.items():
        tail.requires_grad_(False)
        round_to_half(tail)
        kept[name] = replace(records[name], weights=flattened(tail.weights))
    return Consolidated(moved, kept)


def _is_vector(name: str) -> bool:
    return name.startswith("adapted.vectors.")


def _distance(tail: TaskTail, wanted: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> Tensor:
    assert isinstance(tail.weights, GeneratedWeights)
    weights, adapted = tail.weights(), tail.weights.adapted()
    parts = [(weights[name] - value).square().sum() for name, value in wanted.items()]
    parts += [SHRINK * (adapted[name] - base[name]).square().sum() for name in wanted if name in adapted]
    return torch.stack(parts).sum()
