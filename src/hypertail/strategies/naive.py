"""Naive fine-tuning: the line that forgets (Table 2)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from hypertail.hyper import Roster
from hypertail.strategies.parts.multihead import MultiHead, head_widths
from hypertail.strategies.parts.optimisation import Optimisation
from hypertail.strategies.strategy import Strategy, Task, nbytes, prefixed, unprefixed


class Naive(Strategy):
    """Trains one multi-head model on each experience in turn, with nothing against forgetting.

    Args:
        model: the whole main model, images -> logits.
        optimisation: optimizer and schedule.
        seed: initialises the heads.
    """

    def __init__(self, model: nn.Module, optimisation: Optimisation, *, seed: int = 0) -> None:
        self.model = MultiHead(model, seed)
        self.optimisation = optimisation
        self.roster = Roster()

    @property
    def tasks(self) -> tuple[int, ...]:
        """The ids of the tasks learned."""
        return tuple(self.roster.classes)

    def begin(self, task: Task) -> None:
        """Add the task's head."""
        self.roster.admit(task.task, task.classes, task.name)
        self.model.add_task(task.classes, task.task)
        self.optimisation.begin(dict(self.model.named_parameters()), task.steps)

    def step(self, inputs: Tensor, labels: Tensor, task: int) -> Tensor:
        """One Adam step on the cross-entropy of the current task."""
        self.model.train()
        loss = F.cross_entropy(self.model(inputs, task), labels)
        self.optimisation.descend(loss)
        return loss.detach()

    def end(self, task: Task) -> None:
        """Nothing is kept but the model."""
        self.optimisation.end()
        self.model.eval()

    def predict(self, inputs: Tensor, task: int) -> Tensor:
        """Logits of the task's head."""
        self.model.eval()
        return self.model(inputs, task)  # type: ignore[no-any-return]

    def state(self) -> dict[str, Tensor]:
        """Model, tasks and kept optimizer moments."""
        state = prefixed("model", self.model.state_dict()) | self.roster.state()
        return state | prefixed("optimizer", self.optimisation.state())

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore model, tasks and moments."""
        model = unprefixed("model", state)
        self.roster.load_state(state, "head", widths=head_widths(model))
        self.model.load_heads(model, self.roster.classes)
        self.optimisation.load_state(unprefixed("optimizer", state))

    def memory(self) -> dict[str, int]:
        """The model itself."""
        return {"model": nbytes(self.model.state_dict())}
