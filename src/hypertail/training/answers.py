"""Which class is answered for each test image, and how many answers are no longer what they were."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from hypertail.strategies import Strategy

CHUNK = 500
"""Images that are answered at a time."""


@torch.no_grad()
def answers_of(strategy: Strategy, task: int, inputs: Tensor) -> Int64[Tensor, " n"]:
    """The class that a strategy answers for each input, of those of `task`.

    Args:
        strategy: what learned the task.
        task: from 0.
        inputs: of the trunk's output, or images where nothing is frozen, (n, ...).
    """
    return logits_of(strategy.prepare(task), inputs).argmax(1)


def logits_of(predict: Callable[[Tensor], Tensor], inputs: Tensor) -> Float[Tensor, "n classes"]:
    """What `Strategy.prepare` gave, for any number of inputs."""
    return torch.cat([predict(part) for part in inputs.split(CHUNK)])


class FirstAnswers:
    """The answers given right after each experience was learned, to which later ones are compared.

    Accuracy hides change, since answers lost and answers gained cancel; the share of changed answers does not.
    """

    def __init__(self) -> None:
        self._first: dict[int, Tensor] = {}

    def record(self, task: int, answers: Int64[Tensor, " n"]) -> None:
        """Keep the answers of an experience that was just learned."""
        self._first[task] = answers.to("cpu", torch.int32)

    def changed(self, answers: Sequence[Int64[Tensor, " _"]]) -> list[float | None]:
        """The share of answers that are others now, 0..1, for experiences 0, 1, ...; None where those are unknown."""
        return [
            float((now.cpu() != self._first[task]).double().mean()) if task in self._first else None
            for task, now in enumerate(answers)
        ]

    def state(self) -> dict[str, Tensor]:
        """The answers by the number of their experience, as a checkpoint keeps them."""
        return {f"{task}": answers for task, answers in self._first.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what a checkpoint kept; those of older versions kept nothing."""
        self._first = {int(task): answers.cpu() for task, answers in state.items()}
