"""The exemplar buffer of latent replay: a bounded set of (features, label, task)."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from hypertail.errors import check_choice

BufferPolicy = Literal["class-balanced", "reservoir"]


class ReplayBuffer:
    """Stores at most `capacity` exemplars.

    Args:
        capacity: number of exemplars in all.
        policy: `class-balanced` keeps the same number (within one) of every (task, class) seen; `reservoir` keeps a
            uniform sample of everything seen (Vitter, 1985).
    """

    def __init__(self, capacity: int, policy: BufferPolicy) -> None:
        check_choice("buffer policy", policy, get_args(BufferPolicy))
        self.capacity, self.policy = capacity, policy
        self.inputs = torch.empty(0)
        self.labels = torch.empty(0, dtype=torch.long)
        self.tasks = torch.empty(0, dtype=torch.long)
        self.seen = 0

    def __len__(self) -> int:
        return len(self.labels)

    def add(self, inputs: Tensor, labels: Tensor, task: int, generator: torch.Generator) -> None:
        """Offer all inputs of one task to the buffer."""
        tasks = torch.full_like(labels, task)
        if len(self):
            pool = (
                torch.cat((self.inputs, inputs)),
                torch.cat((self.labels, labels)),
                torch.cat((self.tasks, tasks)),
            )
        else:
            pool = inputs, labels, tasks
        chosen = self._balanced(*pool[1:], generator) if self.policy == "class-balanced" else None
        if chosen is None:
            chosen = self._reservoir(len(inputs), generator)
        self.seen += len(inputs)
        chosen = chosen.to(inputs.device)
        self.inputs, self.labels, self.tasks = (part[chosen].clone() for part in pool)
        self._lay_out()

    def _lay_out(self) -> None:
        # one layout whether filled or restored, so that a resumed run computes the same bits
        if self.inputs.dim() == 4:
            self.inputs = self.inputs.contiguous(memory_format=torch.channels_last)

    def _balanced(self, labels: Tensor, tasks: Tensor, generator: torch.Generator) -> Tensor:
        groups = torch.unique(torch.stack((tasks, labels)).cpu(), dim=1).T.tolist()
        members = [((tasks == task) & (labels == label)).nonzero().flatten().cpu() for task, label in groups]
        share = self.capacity // len(groups)
        quota = [min(share, len(own)) for own in members]
        # the odd exemplars go to groups that still have some to give, in random order
        for number in torch.randperm(len(groups), generator=generator).tolist():
            if sum(quota) < self.capacity and len(members[number]) > share:
                quota[number] += 1
        kept = [
            own[torch.randperm(len(own), generator=generator)[:size]] for own, size in zip(members, quota, strict=True)
        ]
        return torch.cat(kept).sort().values

    def _reservoir(self, new: int, generator: torch.Generator) -> Tensor:
        slots = list(range(len(self)))
        offset = len(slots)
        for number in range(new):
            if len(slots) < self.capacity:
                slots.append(offset + number)
                continue
            place = int(torch.randint(self.seen + number + 1, (), generator=generator))
            if place < self.capacity:
                slots[place] = offset + number
        return torch.tensor(slots, dtype=torch.long)

    def sample(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """A random batch (inputs, labels, tasks) without repetition, at most `size` long."""
        index = torch.randperm(len(self), generator=generator)[:size].to(self.labels.device)
        return self.inputs[index], self.labels[index], self.tasks[index]

    def state(self) -> dict[str, Tensor]:
        """The exemplars and how many were seen."""
        seen = torch.tensor(self.seen)
        return {"inputs": self.inputs, "labels": self.labels, "tasks": self.tasks, "seen": seen}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned."""
        self.inputs, self.labels, self.tasks = state["inputs"], state["labels"], state["tasks"]
        self.seen = int(state["seen"])
        self._lay_out()
