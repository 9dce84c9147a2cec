"""Naive fine-tuning: the lower reference, which forgets (Table 2)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from hypertail.nets.tensors import BufferDict, nbytes
from hypertail.strategies.parts.descending import DescendingLesson
from hypertail.strategies.parts.multihead import MultiHead, head_widths
from hypertail.strategies.parts.optimisation import Optimisation
from hypertail.strategies.strategy import Strategy, Task, below


class Naive(Strategy):
    """Trains one multi-head model on each experience in turn, with nothing against forgetting.

    Args:
        model: the whole main model, images -> logits.
        optimisation: optimizer and schedule.
        seed: initialises the heads.
    """

    earlier_names: ClassVar[Mapping[str, str]] = {"optimizer.": "moments."}

    def __init__(self, model: nn.Module, optimisation: Optimisation, *, seed: int = 0) -> None:
        super().__init__()
        self.model = MultiHead(model, seed)
        self.optimisation, self.moments = optimisation, BufferDict()

    def begin(self, task: Task) -> NaiveLesson:
        """Add the task's head."""
        self.admit(task)
        return NaiveLesson(self, task, dict(self.model.named_parameters()))

    def admit(self, task: Task) -> None:
        """Take note of a task, and add its head."""
        self.roster.admit(task.id, task.classes, task.name)
        self.model.add_task(task.classes, task.id)

    def predict(self, inputs: Tensor, task: int) -> Tensor:
        """Logits of the task's head."""
        self.model.eval()
        return self.model(inputs, task)  # type: ignore[no-any-return]

    def make_room(self, state: Mapping[str, Tensor]) -> None:
        """Restore the tasks and make their heads."""
        model = below("model.", state)
        self.roster.load_state(state, "head", widths=head_widths(model))
        self.model.make_heads(model, self.roster.classes)

    def memory(self) -> dict[str, int]:
        """The model itself."""
        return {"model": nbytes(self.model.state_dict().values())}


class NaiveLesson(DescendingLesson):
    """Adam on the cross-entropy of the current task.

    Args:
        naive: what learns.
        task: has a head already.
        leaves: the parameters of the model that learn.
        own: names of those that learn with no later task.
    """

    def __init__(self, naive: Naive, task: Task, leaves: Mapping[str, Tensor], own: Collection[str] = ()) -> None:
        self.model, self.task = naive.model, task
        self.descent = naive.optimisation.begin({"model": leaves}, task.steps, naive.moments, own=own)

    def cross_entropy(self, inputs: Tensor, labels: Tensor, task: int | None = None) -> Tensor:
        """The loss on a batch, in training mode."""
        self.model.train()
        return F.cross_entropy(self.model(inputs, self.task.id if task is None else task), labels)

    def step(self, inputs: Tensor, labels: Tensor, task: int | None = None) -> Tensor:
        """One step on the cross-entropy."""
        loss = self.cross_entropy(inputs, labels, task)
        self.descent.descend(loss)
        return loss.detach()

    def end(self) -> None:
        """Nothing is kept but the model."""
        self.descent.end()
        self.model.eval()
