"""An output-space term: earlier tasks should keep their logits, measured on the current batch (no old data)."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from hypertail.errors import ConfigError
from hypertail.hyper import PartialHypernetwork
from hypertail.hyper.partial import Weights

KEPT = 32
"""Earlier tasks whose weights under the snapshot are kept during an experience, rather than generated again."""


class OutputPenalty:
    """weight · mean over drawn earlier tasks j of mean (h(z; H*(j)) - h(z; H(j)))^2.

    z are features of the current batch. The weight-space penalty punishes changes of weights that no output would
    feel; this term does not, so that it leaves more room for the new task. Tasks are drawn afresh at every step.

    Args:
        weight: factor of the term.
        tasks: how many earlier tasks are drawn at each step.
        share: part of the batch that is used, from 0 (exclusive) to 1.

    Raises:
        ConfigError: no task, no share, or a negative weight.
    """

    def __init__(self, weight: float, tasks: int = 2, share: float = 0.5) -> None:
        if tasks < 1 or not 0 < share <= 1 or weight < 0:
            raise ConfigError(
                "output-space term",
                required="a weight from 0, at least 1 task and a share above 0, at most 1",
                found=f"weight={weight}, tasks={tasks}, share={share}",
                hint="Leave the term out to do without it.",
            )
        self.weight, self.tasks, self.share = weight, tasks, share
        self._net: PartialHypernetwork | None = None

    def begin(self, net: PartialHypernetwork, earlier: list[int], generator: torch.Generator) -> None:
        """Take the snapshot before an experience."""
        self._net, self._earlier, self._generator = net, earlier, generator
        self._snapshot = copy.deepcopy(net.hyper).requires_grad_(False)
        self._old: dict[int, Weights] = {}

    def end(self) -> None:
        """Drop the snapshot."""
        self._net = None
        self._old = {}

    def draw(self) -> list[int]:
        """The earlier tasks of one step."""
        order = torch.randperm(len(self._earlier), generator=self._generator)
        return [self._earlier[number] for number in order[: self.tasks].tolist()]

    def __call__(
        self, weights: Sequence[Weights], drawn: Sequence[int], features: Float[Tensor, "batch ..."]
    ) -> Float[Tensor, ""]:
        """The term for the present `weights` of the `drawn` tasks."""
        net = self._net
        assert net is not None
        part = features[: max(1, round(self.share * len(features)))]
        net.tail.eval()
        total = features.new_zeros(())
        for own, task in zip(weights, drawn, strict=True):
            with torch.no_grad():
                target = net.apply(self._old_weights(net, task), part, task)
            logits = net.apply(net.crop(own, net.classes[task]), part, task)
            total = total + (logits.float() - target.float()).square().mean()
        net.tail.train()
        return self.weight * total / len(drawn)

    def _old_weights(self, net: PartialHypernetwork, task: int) -> Weights:
        if task not in self._old:
            if len(self._old) >= KEPT:
                del self._old[next(iter(self._old))]
            with torch.autocast(self._snapshot.embedding.device.type, enabled=False):
                self._old[task] = net.crop(self._snapshot(task), net.classes[task])
        return self._old[task]
