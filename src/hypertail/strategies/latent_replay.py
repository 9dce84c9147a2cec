"""Latent replay at depth k: stored features of old tasks are replayed into the tail (section 4.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hypertail.errors import CheckpointError, ConfigError
from hypertail.nets.tensors import BufferDict, nbytes
from hypertail.seeds import generator
from hypertail.strategies.parts.buffer import BufferPolicy, ReplayBuffer
from hypertail.strategies.parts.descending import DescendingLesson
from hypertail.strategies.parts.multihead import MultiHead, head_widths
from hypertail.strategies.parts.optimisation import Optimisation
from hypertail.strategies.parts.trunk import Trunk
from hypertail.strategies.strategy import Strategy, Task, below


class LatentReplay(Strategy):
    """One multi-head tail, trained on the current task and on stored features of earlier ones.

    The loss is CE(current) + c · CE(replayed); both go through the tail in one batch.

    Args:
        trunk: images -> features; an empty trunk (depth 0) replays images.
        tail: features -> logits.
        optimisation: optimizer and schedule.
        capacity: exemplars in the buffer.
        replay_batch: exemplars replayed at each step.
        coefficient: c.
        policy: how the buffer chooses what it keeps.
        seed: initialises heads, and drives the buffer.

    Raises:
        ConfigError: a buffer without room for an exemplar.
    """

    earlier_names: ClassVar[Mapping[str, str]] = {"trunk.": "trunk.module.", "optimizer.": "moments."}

    def __init__(
        self,
        trunk: Trunk,
        tail: nn.Module,
        optimisation: Optimisation,
        *,
        capacity: int = 200,
        replay_batch: int = 64,
        coefficient: float = 1.0,
        policy: BufferPolicy = "class-balanced",
        seed: int = 0,
    ) -> None:
        if min(capacity, replay_batch) < 1:
            raise ConfigError(
                "latent replay without exemplars",
                required="a buffer and a replay batch of at least 1",
                found=f"buffer {capacity}, replay batch {replay_batch}",
                hint="Use the naive strategy to train without replay.",
            )
        super().__init__()
        self.trunk, self.tail = trunk, MultiHead(tail, seed)
        self.optimisation, self.moments = optimisation, BufferDict()
        self.replay_batch, self.coefficient, self.seed = replay_batch, coefficient, seed
        self.buffer = ReplayBuffer(capacity, policy)

    @property
    def frozen_trunk(self) -> nn.Module | None:
        """The trunk, once frozen."""
        return self.trunk.cacheable

    def begin(self, task: Task) -> ReplayLesson:
        """Add the task's head."""
        self.roster.admit(task.id, task.classes, task.name)
        self.tail.add_task(task.classes, task.id)
        return ReplayLesson(self, task)

    def predict(self, inputs: Tensor, task: int) -> Tensor:
        """Logits of the task's head."""
        self.tail.eval()
        return self.tail(self.trunk.features(inputs, training=False), task)  # type: ignore[no-any-return]

    def make_room(self, state: Mapping[str, Tensor]) -> None:
        """Restore the tasks and make their heads."""
        tail = below("tail.", state)
        self.roster.load_state(state, "head", widths=head_widths(tail))
        self.tail.make_heads(tail, self.roster.classes)
        for task in set(state.get("buffer.tasks", torch.empty(0)).tolist()) - set(self.tasks):
            raise CheckpointError(
                f"exemplars of task {task} in the buffer",
                required=f"exemplars of tasks {', '.join(map(str, self.tasks))}",
                found=f"some of task {task}",
                hint="Use a file that was not changed after it was written.",
            )

    def memory(self) -> dict[str, int]:
        """The tail and the exemplars (Table 6 counts the exemplars alone)."""
        return {"tail": nbytes(self.tail.state_dict().values()), "buffer": nbytes(self.buffer.buffers())}


class ReplayLesson(DescendingLesson):
    """Adam on the cross-entropy of a current and a replayed batch."""

    def __init__(self, strategy: LatentReplay, task: Task) -> None:
        self.strategy, self.task, self.trunk, self.tail = strategy, task, strategy.trunk, strategy.tail
        groups = {"tail": dict(self.tail.named_parameters()), "trunk": self.trunk.group()}
        self.descent = strategy.optimisation.begin(groups, task.steps, strategy.moments)

    def step(self, inputs: Tensor, labels: Tensor, task: int | None = None) -> Tensor:
        """One step on the current and a replayed batch; the current cross-entropy is returned."""
        buffer, coefficient = self.strategy.buffer, self.strategy.coefficient
        self.tail.train()
        features = self.trunk.features(inputs, training=True)
        if not (len(buffer) and coefficient):
            loss = F.cross_entropy(self.tail(features, self.task.id), labels)
            self.descent.descend(loss)
            return loss.detach()
        random = generator(self.strategy.seed, "replay", self.task.id, self.descent.taken)
        old, old_labels, old_tasks = buffer.sample(self.strategy.replay_batch, random)
        tasks = torch.cat((torch.full_like(labels, self.task.id), old_tasks))
        logits = self.tail.mixed(torch.cat((features, old)), tasks)
        loss = F.cross_entropy(logits[: len(labels)], labels)
        replayed = F.cross_entropy(logits[len(labels) :], old_labels)
        self.descent.descend(loss + coefficient * replayed)
        return loss.detach()

    def end(self) -> None:
        """Freeze the trunk after the first experience, then store exemplars."""
        self.descent.end()
        self.trunk.freeze()
        self.tail.eval()
        inputs, labels = self.task.plain()
        random = generator(self.strategy.seed, "buffer", self.task.id)
        self.strategy.buffer.add(self.trunk.all_features(inputs), labels, self.task.id, random)
