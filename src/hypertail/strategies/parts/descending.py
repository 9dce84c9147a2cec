"""A lesson that goes down a gradient, and can be gone on with in its middle."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from hypertail.strategies.parts.optimisation import Descent
from hypertail.strategies.strategy import Lesson


class DescendingLesson(Lesson):
    """A lesson whose steps change the strategy's tensors and those of one descent, and nothing else.

    Attributes:
        descent: the optimizer with its moments.
    """

    descent: Descent

    def state(self) -> dict[str, Tensor]:
        """That of the descent."""
        return self.descent.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on where another lesson of the same task was."""
        self.descent.load_state(state)
