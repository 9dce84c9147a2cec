"""Latent replay at depth k: stored features of old tasks are replayed into the tail (section 4.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hypertail.errors import CheckpointError, ConfigError
from hypertail.hyper import Roster
from hypertail.seeds import generator
from hypertail.strategies.parts.buffer import BufferPolicy, ReplayBuffer
from hypertail.strategies.parts.multihead import MultiHead, head_widths
from hypertail.strategies.parts.optimisation import Optimisation
from hypertail.strategies.parts.trunk import Trunk
from hypertail.strategies.strategy import Strategy, Task, nbytes, prefixed, unprefixed


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
        self.trunk, self.tail, self.optimisation = trunk, MultiHead(tail, seed), optimisation
        self.replay_batch, self.coefficient, self.seed = replay_batch, coefficient, seed
        self.buffer = ReplayBuffer(capacity, policy)
        self._generator = generator(seed, "replay", 0)
        self.roster = Roster()

    @property
    def tasks(self) -> tuple[int, ...]:
        """The ids of the tasks learned."""
        return tuple(self.roster.classes)

    @property
    def frozen_trunk(self) -> nn.Module | None:
        """The trunk, once frozen."""
        return self.trunk.cacheable

    def begin(self, task: Task) -> None:
        """Add the task's head."""
        self.roster.admit(task.task, task.classes, task.name)
        self.tail.add_task(task.classes, task.task)
        self._generator = generator(self.seed, "replay", task.task)
        leaves = dict(self.tail.named_parameters()) | self.trunk.parameters()
        self.optimisation.begin(leaves, task.steps)

    def step(self, inputs: Tensor, labels: Tensor, task: int) -> Tensor:
        """One Adam step on the current and a replayed batch; the current cross-entropy is returned."""
        self.tail.train()
        features = self.trunk(inputs, training=True)
        if not (len(self.buffer) and self.coefficient):
            loss = F.cross_entropy(self.tail(features, task), labels)
            self.optimisation.descend(loss)
            return loss.detach()
        old, old_labels, old_tasks = self.buffer.sample(self.replay_batch, self._generator)
        tasks = torch.cat((torch.full_like(labels, task), old_tasks))
        logits = self.tail.mixed(torch.cat((features, old)), tasks)
        loss = F.cross_entropy(logits[: len(labels)], labels)
        replayed = F.cross_entropy(logits[len(labels) :], old_labels)
        self.optimisation.descend(loss + self.coefficient * replayed)
        return loss.detach()

    def end(self, task: Task) -> None:
        """Freeze the trunk after the first experience, then store exemplars."""
        self.optimisation.end()
        self.trunk.freeze()
        self.tail.eval()
        inputs, labels = task.plain()
        self.buffer.add(self.trunk.features(inputs), labels, task.task, generator(self.seed, "buffer", task.task))

    def predict(self, inputs: Tensor, task: int) -> Tensor:
        """Logits of the task's head."""
        self.tail.eval()
        return self.tail(self.trunk(inputs, training=False), task)  # type: ignore[no-any-return]

    def state(self) -> dict[str, Tensor]:
        """Trunk, tail, tasks, buffer and kept optimizer moments."""
        return (
            prefixed("trunk", self.trunk.state())
            | prefixed("tail", self.tail.state_dict())
            | self.roster.state()
            | prefixed("buffer", self.buffer.state())
            | prefixed("optimizer", self.optimisation.state())
        )

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore all of it."""
        self.trunk.load_state(unprefixed("trunk", state))
        tail = unprefixed("tail", state)
        self.roster.load_state(state, "head", widths=head_widths(tail))
        self.tail.load_heads(tail, self.roster.classes)
        buffer = unprefixed("buffer", state)
        for lost in sorted({"inputs", "labels", "tasks", "seen"} - set(buffer)):
            raise CheckpointError(
                "saved buffer of exemplars",
                required="inputs, labels, tasks and how many were seen",
                found=f"no '{lost}'",
                hint="Use a file that was not changed after it was written.",
            )
        self.buffer.load_state(buffer)
        for task in set(self.buffer.tasks.tolist()) - set(self.tasks):
            raise CheckpointError(
                f"exemplars of task {task} in the buffer",
                required=f"exemplars of tasks {', '.join(map(str, self.tasks))}",
                found=f"some of task {task}",
                hint="Use a file that was not changed after it was written.",
            )
        self.optimisation.load_state(unprefixed("optimizer", state))

    def memory(self) -> dict[str, int]:
        """The tail and the exemplars (Table 6 counts the exemplars alone)."""
        return {"tail": nbytes(self.tail.state_dict()), "buffer": nbytes(self.buffer.state())}
