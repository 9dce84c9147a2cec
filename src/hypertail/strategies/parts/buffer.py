"""The exemplar buffer of latent replay: a bounded set of (features, label, task)."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from hypertail.errors import check_choice

BufferPolicy = Literal["class-balanced", "reservoir"]


class ReplayBuffer(nn.Module):
    """Stores at most `capacity` exemplars.

    Args:
        capacity: number of exemplars in all.
        policy: `class-balanced` keeps the same number (within one) of every (task, class) seen; `reservoir` keeps a
            uniform sample of everything seen (Vitter, 1985).
    """

    inputs: Tensor
    labels: Tensor
    tasks: Tensor
    seen: Tensor

    def __init__(self, capacity: int, policy: BufferPolicy) -> None:
        super().__init__()
        check_choice("buffer policy", policy, get_args(BufferPolicy))
        self.capacity, self.policy = capacity, policy
        self.register_buffer("inputs", torch.empty(0))
        self.register_buffer("labels", torch.empty(0, dtype=torch.long))
        self.register_buffer("tasks", torch.empty(0, dtype=torch.long))
        self.register_buffer("seen", torch.tensor(0))

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
        if self.policy == "class-balanced":
            chosen = self._balanced(*pool[1:], generator)
        else:
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
        quota = [min(share, len(numbers)) for numbers in members]
        # the odd exemplars go to groups that still have some to give, in random order
        for number in torch.randperm(len(groups), generator=generator).tolist():
            if sum(quota) < self.capacity and len(members[number]) > share:
                quota[number] += 1
        chosen = [
            numbers[torch.randperm(len(numbers), generator=generator)[:size]]
            for numbers, size in zip(members, quota, strict=True)
        ]
        return torch.cat(chosen).sort().values

    def _reservoir(self, new: int, generator: torch.Generator) -> Tensor:
        slots, seen = list(range(len(self))), int(self.seen)
        offset = len(slots)
        for number in range(new):
            if len(slots) < self.capacity:
                slots.append(offset + number)
                continue
            place = int(torch.randint(seen + number + 1, (), generator=generator))
            if place < self.capacity:
                slots[place] = offset + number
        return torch.tensor(slots, dtype=torch.long)

    def sample(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """A random batch (inputs, labels, tasks) without repetition, at most `size` long."""
        index = torch.randperm(len(self), generator=generator)[:size].to(self.labels.device)
        return self.inputs[index], self.labels[index], self.tasks[index]

    def extra_repr(self) -> str:
        """Exemplars, capacity and policy, as printed."""
        return f"{len(self)} of {self.capacity}, {self.policy}"

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        # room for as many exemplars as were saved
        for name, buffer in list(self.named_buffers()):
            saved = state_dict.get(prefix + name)
            if saved is not None:
                setattr(self, name, buffer.new_empty(saved.shape, dtype=saved.dtype))
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self._lay_out()
