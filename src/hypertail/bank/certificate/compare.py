"""What a task answers now, beside what it answered when it was learned."""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from hypertail.bank.backbone import Backbone
from hypertail.bank.certificate.certificate import ROUNDING, Standing, TaskCheck
from hypertail.bank.certificate.probes import probe_images
from hypertail.bank.record import TaskRecord
from hypertail.bank.serving import Server
from hypertail.nets.task_tail import TaskTail


class Compared(NamedTuple):
    """Answers to probes now beside those when the task was learned.

    Attributes:
        probes: how many.
        changed: how many answers are other ones.
        change: the largest of a logit.
        largest: logit, then.
        equal: whether all logits are equal to the bit.
    """

    probes: int
    changed: int
    change: float
    largest: float
    equal: bool


class Comparison:
    """Compares tasks of a server with their records.

    Args:
        server: answers now.
        backbone: of the bank.
        budget: share of a task's answers that may be another one.
        known: what this process has already compared, by the digests of all that answers; it is added to.
    """

    def __init__(
        self, server: Server, backbone: Backbone, budget: float, known: MutableMapping[str, Compared] | None = None
    ) -> None:
        self.server, self.backbone, self.budget = server, backbone, budget
        self.known = {} if known is None else known

    @cached_property
    def _features(self) -> Tensor:
        return self.backbone.features(probe_images(self.backbone.preprocessing.size).to(self.server.device))

    @torch.no_grad()
    def answers(self, tail: TaskTail) -> Tensor:
        """Logits of a tail for the synthetic probes, (probes, classes)."""
        logits: Tensor = tail(self._features)
        return logits.cpu()

    @torch.no_grad()
    def check(
        self,
        name: str,
        record: TaskRecord,
        *,
        files_identical: bool,
        measured: tuple[float, int] | None = None,
        before: Mapping[str, Tensor] | None = None,
        digest: str | None = None,
    ) -> TaskCheck:
        """The check of one task.

        Args:
            name: of the task.
            record: has what it answered when it was learned.
            files_identical: whether every stored bit that answers for it is as it was then.
            measured: accuracy on test data, if there is any, and of how many images.
            before: the tail's tensors as they were, to tell by how much they moved.
            digest: of all that answers for the task: the same bits were compared before in this process if it is
                known. None: compare anyway.
        """
        if digest is None or digest not in self.known:
            found = self._compared(name, record)
            if digest is not None:
                self.known[digest] = found
        else:
            found = self.known[digest]
        standing: Standing = "moved"
        if files_identical and found.change <= ROUNDING * max(1.0, found.largest):
            standing = "identical" if found.equal else "rounding"
        accuracy, images = measured or (None, 0)
        return TaskCheck(
            name,
            standing,
            files_identical,
            found.probes,
            found.changed,
            found.change,
            0.0 if before is None else moved_by(before, self.server.tail(name).tensors),
            accuracy,
            record.held_out[0],
            found.changed <= self.budget * found.probes,
            images,
            record.held_out[1],
        )

    @torch.no_grad()
    def changed_since(self, before: Server, name: str, record: TaskRecord) -> int:
        """How many answers to the probes of a task are others than `before` gives."""
        kept = [record.probes["features"].to(self.server.device)] if "features" in record.probes else []
        now, then = self.server.tail(name), before.tail(name)
        return sum(
            int((now.logits(self.backbone, each).argmax(1) != then.logits(self.backbone, each).argmax(1)).sum())
            for each in (self._features, *kept)
        )

    def _compared(self, name: str, record: TaskRecord) -> Compared:
        tail = self.server.tail(name)
        then, now = [record.probes["logits"]], [tail.logits(self.backbone, self._features).cpu()]
        if "features" in record.probes:
            then.append(record.probes["answers"])
            now.append(tail.logits(self.backbone, record.probes["features"].to(self.server.device)).cpu())
        changed = sum(int((a.argmax(1) != b.argmax(1)).sum()) for a, b in zip(then, now, strict=True))
        change = max(float((a - b).abs().max()) for a, b in zip(then, now, strict=True))
        equal = all(torch.equal(a, b) for a, b in zip(then, now, strict=True))
        return Compared(sum(map(len, then)), changed, change, float(then[0].abs().max()), equal)


def moved_by(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    """||after - before|| / ||before|| over all weights that learn."""
    names = [name for name, value in before.items() if value.is_floating_point() and name in after]
    change = sum(float((after[name] - before[name]).square().sum()) for name in names)
    size = sum(float(before[name].square().sum()) for name in names)
    return math.sqrt(change / max(size, 1e-30))
