"""Joint training: the upper reference, with all data at once."""

from __future__ import annotations

import copy
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from hypertail.hyper import Roster
from hypertail.strategies.parts.multihead import MultiHead, head_widths
from hypertail.strategies.parts.optimisation import Optimisation
from hypertail.strategies.strategy import Strategy, Task, nbytes, prefixed, unprefixed


class Joint(Strategy):
    """All tasks at once, one multi-head model: what could be reached if no data had to go.

    Args:
        model: the whole main model, images -> logits.
        optimisation: optimizer and schedule.
        seed: initialises the heads.
    """

    all_at_once: ClassVar[bool] = True

    def __init__(self, model: nn.Module, optimisation: Optimisation, *, seed: int = 0) -> None:
        self.model, self.optimisation = MultiHead(copy.deepcopy(model), seed), optimisation
        self.roster = Roster()

    @property
    def tasks(self) -> tuple[int, ...]:
        """The ids of the tasks learned."""
        return tuple(self.roster.classes)

    def begin(self, task: Task) -> None:
        """Add a head; called once for every task before the first step."""
        self.roster.admit(task.task, task.classes, task.name)
        self.model.add_task(task.classes, task.task)
        self.optimisation.begin(dict(self.model.named_parameters()), task.steps)

    def step(self, inputs: Tensor, labels: Tensor, task: int) -> Tensor:
        """One Adam step on a batch of one of the tasks."""
        self.model.train()
        loss = F.cross_entropy(self.model(inputs, task), labels)
        self.optimisation.descend(loss)
        return loss.detach()

    def end(self, task: Task) -> None:
        """Nothing to conclude."""
        self.model.eval()

    def predict(self, inputs: Tensor, task: int) -> Tensor:
        """Logits of the task's head."""
        self.model.eval()
        return self.model(inputs, task)  # type: ignore[no-any-return]

    def state(self) -> dict[str, Tensor]:
        """The model and its tasks."""
        return prefixed("model", self.model.state_dict()) | self.roster.state()

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore the model and its tasks."""
        model = unprefixed("model", state)
        self.roster.load_state(state, "head", widths=head_widths(model))
        self.model.load_heads(model, self.roster.classes)

    def memory(self) -> dict[str, int]:
        """The model itself (and, in truth, all data)."""
        return {"model": nbytes(self.model.state_dict())}
