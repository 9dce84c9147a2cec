"""Learning without forgetting: the answers of old heads to new images are held where they were (Li & Hoiem, 2016)."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from hypertail.errors import ConfigError
from hypertail.nets.tensors import BufferDict, nbytes
from hypertail.strategies.parts.descending import DescendingLesson
from hypertail.strategies.parts.multihead import MultiHead, head_widths
from hypertail.strategies.parts.optimisation import Optimisation
from hypertail.strategies.parts.trunk import Trunk
from hypertail.strategies.strategy import Strategy, Task, below


class LwF(Strategy):
    """One multi-head tail, trained on each task in turn and on what the tail before the task answers to its images.

    The loss is CE(current) + weight · sum over earlier tasks j of `distillation` between the answers of head j before
    the task and now, both to the current batch (Fig. 2 of https://arxiv.org/abs/1606.09282, with lambda_o = weight). No
    old image is kept. Earlier heads learn too, as they do there; weight decay and the warm-up of a new head are left
    out.

    Batch normalisation: the tail before the task answers as it predicts, by the running statistics it had then. The
    tail that learns goes through a batch once, for all heads, by the statistics of that batch. With such layers the
    distillation is therefore above its least value from the first step on: statistics of new images have to serve
    earlier heads too. Running statistics are shared by all tasks, and follow the current one.

    Args:
        trunk: images -> features; an empty trunk (depth 0) is the algorithm as published.
        tail: features -> logits.
        optimisation: optimizer and schedule.
        weight: of the distillation; 0 for none.
        temperature: T.
        seed: initialises heads.

    Raises:
        ConfigError: a negative weight, or a temperature that is not above 0.
    """

    def __init__(
        self,
        trunk: Trunk,
        tail: nn.Module,
        optimisation: Optimisation,
        *,
        weight: float = 1.0,
        temperature: float = 2.0,
        seed: int = 0,
    ) -> None:
        if not (weight >= 0 and temperature > 0):
            raise ConfigError(
                "distillation",
                required="a weight of 0 or more and a temperature above 0",
                found=f"weight {weight}, temperature {temperature}",
                hint="The defaults are 1 and 2.",
            )
        super().__init__()
        self.trunk, self.tail = trunk, MultiHead(tail, seed)
        self.optimisation, self.moments = optimisation, BufferDict()
        self.weight, self.temperature = weight, temperature

    @property
    def frozen_trunk(self) -> nn.Module | None:
        """The trunk, once frozen."""
        return self.trunk.cacheable

    def begin(self, task: Task) -> LwFLesson:
        """Add the task's head, and copy the tail that earlier tasks have."""
        self.roster.admit(task.id, task.classes, task.name)
        before = copy.deepcopy(self.tail).requires_grad_(False) if self._distils else None
        self.tail.add_task(task.classes, task.id)
        return LwFLesson(self, task, before)

    @property
    def _distils(self) -> bool:
        """Whether there are earlier answers that could change."""
        shared = any(True for _ in self.tail.body.parameters())
        return shared and self.weight > 0 and len(self.tail.widths) > 0

    def predict(self, inputs: Tensor, task: int) -> Tensor:
        """Logits of the task's head."""
        self.tail.eval()
        return self.tail(self.trunk.features(inputs, training=False), task)  # type: ignore[no-any-return]

    def make_room(self, state: Mapping[str, Tensor]) -> None:
        """Restore the tasks and make their heads."""
        tail = below("tail.", state)
        self.roster.load_state(state, "head", widths=head_widths(tail))
        self.tail.make_heads(tail, self.roster.classes)

    def memory(self) -> dict[str, int]:
        """The tail; the copy that answers for earlier tasks is made of it, and dropped at the end of each lesson."""
        return {"tail": nbytes(self.tail.state_dict().values())}


class LwFLesson(DescendingLesson):
    """Adam on the cross-entropy of the current task and the distillation of earlier ones.

    Args:
        strategy: what learns.
        task: has a head already.
        before: the tail before the task, which never changes; None where nothing is distilled.
    """

    def __init__(self, strategy: LwF, task: Task, before: MultiHead | None) -> None:
        self.strategy, self.task, self.before = strategy, task, before
        self.trunk, self.tail = strategy.trunk, strategy.tail
        groups = {"tail": dict(self.tail.named_parameters()), "trunk": self.trunk.group()}
        self.descent = strategy.optimisation.begin(groups, task.steps, strategy.moments)

    def step(self, inputs: Tensor, labels: Tensor, task: int | None = None) -> Tensor:
        """One step on the cross-entropy plus the distillation; the cross-entropy is returned."""
        self.tail.train()
        features = self.trunk.features(inputs, training=True)
        if self.before is None:
            loss = F.cross_entropy(self.tail(features, self.task.id), labels)
            self.descent.descend(loss)
            return loss.detach()
        logits = self.tail.of_every_task(features)
        loss = F.cross_entropy(logits[self.task.id], labels)
        self.descent.descend(loss + self.strategy.weight * self.distilled(logits, features))
        return loss.detach()

    def distilled(self, logits: Mapping[int, Tensor], features: Tensor) -> Tensor:
        """The sum of `distillation` over earlier tasks; 0 where nothing is distilled.

        Args:
            logits: of every task now, to a batch.
            features: of that batch.
        """
        if self.before is None:
            return features.new_zeros(())
        with torch.no_grad():
            recorded = self.before.of_every_task(features)
        temperature = self.strategy.temperature
        return torch.stack([distillation(logits[old], recorded[old], temperature) for old in recorded]).sum()

    def end(self) -> None:
        """Freeze the trunk after the first experience."""
        self.descent.end()
        self.trunk.freeze()
        self.tail.eval()


def distillation(
    logits: Float[Tensor, "batch classes"], recorded: Float[Tensor, "batch classes"], temperature: float
) -> Float[Tensor, ""]:
    """-T^2 sum_i y'_i log z'_i, averaged over the batch: Eqs. 2 and 3 of LwF, times T^2.

    y' = softmax(recorded / T) and z' = softmax(logits / T), which is Eq. 3, since y^(1/T) of y = softmax(v) is
    proportional to exp(v / T). The factor T^2, which LwF does not have, keeps the size of gradients as T changes
    (Hinton et al., 2015, section 2, https://arxiv.org/abs/1503.02531). The gradient is 0 where y' = z'.

    Args:
        logits: of an earlier head now.
        recorded: of the same head before the task; no gradient goes there.
        temperature: T.
    """
    exact = torch.promote_types(logits.dtype, torch.float32)  # also under autocast
    target = torch.softmax(recorded.detach().to(exact) / temperature, dim=1)
    return temperature**2 * F.cross_entropy(logits.to(exact) / temperature, target)
