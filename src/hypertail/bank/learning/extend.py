"""More images for a task whose old ones are gone: a new class, or more of the classes that it has."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hypertail.bank.backbone import Backbone
from hypertail.bank.inference import Descriptor
from hypertail.bank.learning.calibration import temperature_of
from hypertail.bank.learning.lesson import embeddings
from hypertail.bank.learning.task import Material, accuracy_of, hidden_moments
from hypertail.bank.record import TaskRecord
from hypertail.nets.compact import flattened, round_to_half
from hypertail.nets.moments import Moments, packed, unpacked
from hypertail.nets.task_head import TaskHead
from hypertail.nets.task_tail import TaskTail
from hypertail.seeds import generator
from hypertail.strategies.lwf import distillation

STEPS, PER_CLASS, RATE, RIDGE = 300, 32, 1e-2, 1e-4
SOFTENED = 2.0
"""Temperature at which the answers of a head before and after are compared (`distillation`)."""


@dataclass(frozen=True)
class Growth:
    """Which classes of a task new images are of.

    Attributes:
        classes: of the task afterwards: those it had, then new ones.
        rows: class of the new images -> class of the task.
        added: how many classes are new.
    """

    classes: tuple[str, ...]
    rows: tuple[int, ...]
    added: int

    @classmethod
    def of(cls, known: tuple[str, ...], found: tuple[str, ...]) -> Growth:
        """Classes that have the same name are the same."""
        fresh = tuple(name for name in found if name not in known)
        classes = known + fresh
        return cls(classes, tuple(classes.index(name) for name in found), len(fresh))


@torch.no_grad()
def extended(
    record: TaskRecord, tail: TaskTail, backbone: Backbone, material: Material, facts: Mapping[str, Any], seed: int
) -> TaskRecord:
    """The record of a task after more images.

    Nothing above the cut changes but the head. New classes get a block of their own, learned against the classes that
    were there, of which the mean and the variance of what the head is given are kept: what the task answers for those
    stays equal to the bit. Where there is no new class, the whole head is learned on in the same way, and kept near to
    what it answered: images of one class alone would otherwise draw it away from the others. Accuracy is measured anew
    on what is held out of the new images; with a new class nothing is, and it is unknown.

    Args:
        record: of the task; it is not changed.
        tail: of the task; its head changes in place.
        backbone: of the bank.
        material: the new images; `classes` are those that occur among them.
        facts: of the log.
        seed: of what is drawn.
    """
    growth = Growth.of(record.classes, material.classes)
    labels = torch.tensor(growth.rows)[material.labels.cpu()]
    plain = material.train.plain()
    views = [embeddings(tail, material.train.view(number)) for number in range(material.train.views)]
    vectors = torch.cat([embeddings(tail, plain), *views]).cpu()
    learned: nn.Module = tail.head
    before = None
    if growth.added:
        learned = block = tail.head.grow(growth.added)
        _begin(tail, block, len(record.classes), record.hidden, vectors, labels.repeat(1 + len(views)), seed)
    else:
        before = copy.deepcopy(tail.head)
    learn_head(tail.head, learned, before, record.hidden, vectors, labels.repeat(1 + len(views)), seed)
    tail.requires_grad_(False)
    round_to_half(tail.head)
    hidden = _merged_hidden(record.hidden, embeddings(tail, plain).cpu(), labels, len(growth.classes))
    fresh = Moments.of(Descriptor(backbone)(plain).cpu(), material.labels.cpu(), len(material.classes))
    temperature, accuracy, count = record.calibration["temperature"], None, 0
    if material.held is not None and not growth.added:
        held = tail.head(embeddings(tail, material.held)).cpu()
        known = torch.tensor(growth.rows)[material.held_labels.cpu()]
        temperature, count = max(temperature, temperature_of(held, known)), len(known)
        accuracy = accuracy_of(held, known)
    return replace(
        record,
        classes=growth.classes,
        head=flattened(tail.head),
        blocks=tuple(tail.head.sizes),
        moments=unpacked(packed(record.moments.merged(fresh, growth.rows))),
        hidden=hidden,
        calibration={**record.calibration, "temperature": temperature},
        facts={**record.facts, **facts, "held_out_accuracy": accuracy, "held_out_images": count},
    )


@torch.no_grad()
def _begin(
    tail: TaskTail,
    block: nn.Linear,
    known: int,
    hidden: Mapping[str, Tensor],
    vectors: Tensor,
    labels: Tensor,
    seed: int,
) -> None:
    """Start new rows by least squares: above the best old output on their own images, below it on all others.

    Old outputs may be large, and steps from zero would be long in coming up to them.
    """
    random = generator(seed, "extend begin")
    means, deviations = hidden["means"], hidden["variances"].clamp_min(0).sqrt()
    draws = [means[c] + deviations[c] * torch.randn(PER_CLASS, means.shape[1], generator=random) for c in range(known)]
    everything = torch.cat((vectors, *draws))
    owners = torch.cat((labels, torch.arange(known).repeat_interleave(PER_CLASS)))
    old = tail.head(everything.to(block.weight.device)).cpu()[:, :known]
    two = old.topk(min(2, known), dim=1).values
    margin = (two[:, 0] - two[:, -1]).median().clamp_min(1.0)
    inputs = torch.cat((everything, torch.ones(len(everything), 1)), dim=1).double()
    ridge = RIDGE * inputs.square().mean() * len(inputs) * torch.eye(inputs.shape[1], dtype=torch.float64)
    for row in range(block.out_features):
        sign = torch.where(owners == known + row, 1.0, -1.0)
        target = (old.amax(1) + sign * margin).double()
        # as much weight for the images of the class as for all others
        share = (owners == known + row).double()
        weight = (share / share.sum() + (1 - share) / (1 - share).sum()) * len(share) / 2
        scaled = inputs * weight.unsqueeze(1)
        solution = torch.linalg.solve(scaled.T @ inputs + ridge, scaled.T @ target).float()
        block.weight[row] = solution[:-1]
        block.bias[row] = solution[-1]


def learn_head(
    head: TaskHead,
    learned: nn.Module,
    before: TaskHead | None,
    hidden: Mapping[str, Tensor],
    vectors: Tensor,
    labels: Tensor,
    seed: int,
) -> None:
    """Learn a part of the head on vectors of new images and on draws from N(mean, variance) of every class it had.

    The loss is CE, and with `before` also the `distillation` of what it answers.

    Args:
        head: vectors -> logits.
        learned: the head, or its block of new classes.
        before: the head as it was, to stay near to.
        hidden: counts, means and variances of the classes that the task had.
        vectors: of new images, (n, width).
        labels: their classes among all of the task, (n,).
        seed: of what is drawn.
    """
    means, deviations = hidden["means"], hidden["variances"].clamp_min(0).sqrt()
    present = labels.unique().tolist()
    with torch.enable_grad():
        learned.requires_grad_(True)
        adam = torch.optim.Adam(learned.parameters(), lr=RATE)
        for step in range(STEPS):
            random = generator(seed, "extend", step)
            drawn = [
                means[c] + deviations[c] * torch.randn(PER_CLASS, means.shape[1], generator=random)
                for c in range(len(means))
                if c not in present
            ]
            targets = [torch.full((PER_CLASS,), c) for c in range(len(means)) if c not in present]
            for c in present:
                rows = (labels == c).nonzero()[:, 0]
                picked = rows[torch.randint(len(rows), (PER_CLASS,), generator=random)]
                batch = vectors[picked]
                if c < len(means):
                    # half of what is new, half of what was there
                    old = means[c] + deviations[c] * torch.randn(PER_CLASS, means.shape[1], generator=random)
                    batch = torch.cat((batch[::2], old[::2]))
                drawn.append(batch)
                targets.append(torch.full((len(batch),), c))
            inputs, device = torch.cat(drawn), next(head.parameters()).device
            logits = head(inputs.to(device))
            loss = F.cross_entropy(logits, torch.cat(targets).to(device))
            if before is not None:
                loss = loss + distillation(logits, before(inputs.to(device)), SOFTENED)
            adam.zero_grad()
            loss.backward()
            for group in adam.param_groups:
                group["lr"] = RATE * (1 - step / STEPS)
            adam.step()


def _merged_hidden(hidden: Mapping[str, Tensor], vectors: Tensor, labels: Tensor, classes: int) -> dict[str, Tensor]:
    """Means and variances of old and new vectors together."""
    counts, means, variances = (
        torch.cat((hidden[name], hidden[name].new_zeros(classes - len(hidden[name]), *hidden[name].shape[1:])))
        for name in ("counts", "means", "variances")
    )
    for c in labels.unique().tolist():
        more = hidden_moments(vectors[labels == c], torch.zeros(int((labels == c).sum()), dtype=torch.long), 1)
        old, new = counts[c], more["counts"][0]
        share, change = new / (old + new), more["means"][0] - means[c]
        variances[c] = (1 - share) * variances[c] + share * more["variances"][0] + share * (1 - share) * change.square()
        means[c] = means[c] + share * change
        counts[c] = old + new
    return {"counts": counts, "means": means, "variances": variances}
