"""Joint training: the upper reference, with all data at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from hypertail.hyper.roster import Roster
from hypertail.strategies.naive import Naive, NaiveLesson
from hypertail.strategies.parts.multihead import MultiHead
from hypertail.strategies.parts.optimisation import Optimisation
from hypertail.strategies.strategy import Strategy, Task, below


class Joint(Strategy):
    """All tasks at once, one multi-head model: what could be reached if no data had to go.

    Args:
        model: the whole main model, images -> logits.
        optimisation: optimizer and schedule.
        seed: initialises the heads.
    """

    all_at_once: ClassVar[bool] = True
    earlier_names: ClassVar[Mapping[str, str]] = {"model.": "naive.model."}

    def __init__(self, model: nn.Module, optimisation: Optimisation, *, seed: int = 0) -> None:
        super().__init__()
        self.naive = Naive(model, optimisation, seed=seed)

    @property
    def roster(self) -> Roster:
        """The tasks begun so far."""
        return self.naive.roster

    @property
    def model(self) -> MultiHead:
        """The model with all heads."""
        return self.naive.model

    def begin(self, task: Task) -> NaiveLesson:
        """Add a head. Called for every task before the first step; the last lesson learns all heads there are."""
        return self.naive.begin(task)

    def predict(self, inputs: Tensor, task: int) -> Tensor:
        """Logits of the task's head."""
        return self.naive.predict(inputs, task)

    def make_room(self, state: Mapping[str, Tensor]) -> None:
        """Restore the tasks and make their heads."""
        self.naive.make_room({**state, **below("naive.", state)})

    def memory(self) -> dict[str, int]:
        """The model itself (and, in truth, all data)."""
        return self.naive.memory()
