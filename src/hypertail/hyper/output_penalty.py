"""Output regularisation: earlier tasks should keep their logits, measured on the current batch (no old data)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hypertail.errors import ConfigError
from hypertail.hyper.hypernetwork import Hypernetwork
from hypertail.hyper.partial import PartialHypernetwork, Weights
from hypertail.hyper.snapshot import snapshot_of
from hypertail.nets.mode import in_mode

KEPT = 32
"""Earlier tasks whose weights under the snapshot are kept during an experience, rather than generated again."""


@dataclass(frozen=True)
class OutputPenalty:
    """weight · mean over drawn earlier tasks j of mean (h(z; H*(j)) - h(z; H(j)))^2.

    z are features of the current batch. The weight-space penalty punishes changes of weights that no output would
    show; this one does not, so that it leaves more room for the new task. Tasks are drawn afresh at every step.

    Args:
        weight: factor of the penalty.
        tasks: how many earlier tasks are drawn at each step.
        share: part of the batch that is used, from 0 (exclusive) to 1.

    Raises:
        ConfigError: no task, no share, or a negative weight.
    """

    weight: float
    tasks: int = 2
    share: float = 0.5

    def __post_init__(self) -> None:
        if self.tasks < 1 or not 0 < self.share <= 1 or self.weight < 0:
            raise ConfigError(
                "output regularisation",
                required="a weight from 0, at least 1 task and a share above 0, at most 1",
                found=f"weight={self.weight}, tasks={self.tasks}, share={self.share}",
                hint="Leave it out to do without it.",
            )

    def begin(
        self, net: PartialHypernetwork, earlier: Sequence[int], snapshot: Hypernetwork | None = None
    ) -> OldOutputs:
        """Take the snapshot H* before an experience.

        Args:
            net: as it is now.
            earlier: the tasks learned before.
            snapshot: H*, if it was taken already (`snapshot_of`).
        """
        return OldOutputs(self, net, earlier, snapshot or snapshot_of(net.hyper))


class OldOutputs:
    """What earlier tasks gave before an experience, for as long as it is learned. Made by `OutputPenalty.begin`."""

    def __init__(
        self, options: OutputPenalty, net: PartialHypernetwork, earlier: Sequence[int], snapshot: Hypernetwork
    ) -> None:
        self.options, self.net, self.earlier, self.snapshot = options, net, list(earlier), snapshot
        self._old_weights: dict[int, Weights] = {}

    def draw(self, generator: torch.Generator) -> list[int]:
        """The earlier tasks of one step, whose generator it is."""
        order = torch.randperm(len(self.earlier), generator=generator)
        return [self.earlier[number] for number in order[: self.options.tasks].tolist()]

    def __call__(
        self, weights: Sequence[Weights], drawn: Sequence[int], features: Float[Tensor, "batch ..."]
    ) -> Float[Tensor, ""]:
        """The penalty for the present `weights` of the `drawn` tasks."""
        net = self.net
        part = features[: max(1, round(self.options.share * len(features)))]
        total = features.new_zeros(())
        with in_mode(False, net.tail):
            for present, task in zip(weights, drawn, strict=True):
                with torch.no_grad():
                    target = net.logits(self._weights_before(task), part, task)
                logits = net.logits(net.crop(present, net.classes[task]), part, task)
                total = total + (logits.float() - target.float()).square().mean()
        return self.options.weight * total / len(drawn)

    def _weights_before(self, task: int) -> Weights:
        if task not in self._old_weights:
            if len(self._old_weights) >= KEPT:
                del self._old_weights[next(iter(self._old_weights))]
            with torch.autocast(self.snapshot.embedding.device.type, enabled=False):
                self._old_weights[task] = self.net.crop(self.snapshot(task), self.net.classes[task])
        return self._old_weights[task]
