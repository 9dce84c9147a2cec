"""What a task answers now, beside what it answered when it was learned."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from hypertail.bank.backbone import Backbone
from hypertail.bank.certificate.certificate import ROUNDING, Standing, TaskCheck
from hypertail.bank.certificate.probes import probe_images
from hypertail.bank.record import TaskRecord
from hypertail.bank.serving import Server
from hypertail.nets.task_tail import TaskTail


class Comparison:
    """Compares tasks of a server with their records.

    Args:
        server: answers now.
        backbone: of the bank.
        budget: share of a task's answers that may be another one.
    """

    def __init__(self, server: Server, backbone: Backbone, budget: float) -> None:
        self.server, self.backbone, self.budget = server, backbone, budget
        self._features = backbone.features(probe_images(backbone.preprocessing.size).to(server.device))

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
        accuracy: float | None = None,
        before: Mapping[str, Tensor] | None = None,
    ) -> TaskCheck:
        """The check of one task.

        Args:
            name: of the task.
            record: has what it answered when it was learned.
            files_identical: whether every stored bit that answers for it is as it was then.
            accuracy: on test data, if there is any.
            before: the tail's tensors as they were, to tell by how much they moved.
        """
        tail = self.server.tail(name)
        then, now = [record.probes["logits"]], [tail.logits(self.backbone, self._features).cpu()]
        if "features" in record.probes:
            then.append(record.probes["answers"])
            now.append(tail.logits(self.backbone, record.probes["features"].to(self.server.device)).cpu())
        changed = sum(int((a.argmax(1) != b.argmax(1)).sum()) for a, b in zip(then, now, strict=True))
        change = max(float((a - b).abs().max()) for a, b in zip(then, now, strict=True))
        probes = sum(len(each) for each in then)
        equal = all(torch.equal(a, b) for a, b in zip(then, now, strict=True))
        standing: Standing = "moved"
        if files_identical and change <= ROUNDING * max(1.0, float(then[0].abs().max())):
            standing = "identical" if equal else "rounding"
        return TaskCheck(
            name,
            standing,
            files_identical,
            probes,
            changed,
            change,
            0.0 if before is None else moved_by(before, tail.tensors),
            accuracy,
            record.facts.get("held_out_accuracy"),
            changed <= self.budget * probes,
        )


def moved_by(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    """||after - before|| / ||before|| over all weights that learn."""
    names = [name for name, value in before.items() if value.is_floating_point() and name in after]
    change = sum(float((after[name] - before[name]).square().sum()) for name in names)
    size = sum(float(before[name].square().sum()) for name in names)
    return math.sqrt(change / max(size, 1e-30))
