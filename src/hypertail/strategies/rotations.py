"""Rotations as labels: what makes a trunk trained on a few classes transfer to others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hypertail.errors import ConfigError
from hypertail.hyper.roster import Roster
from hypertail.seeds import generator
from hypertail.strategies.strategy import Lesson, Strategy, Task

TURNS = 4
"""Quarter turns of a square image."""


class Rotations(Strategy):
    """Teaches another strategy each class at each of four orientations, a label of its own for every pair.

    To tell the orientations of a thing apart, a network must know its parts and how they lie, which a few classes
    alone do not demand, so that its features transfer better to unseen classes (self-supervision by rotation; Gidaris
    et al., 2018, https://arxiv.org/abs/1803.07728; joined with the classes as in Lee et al., 2020,
    https://arxiv.org/abs/1910.05872).

    Args:
        learner: learns labels `4 * class + quarter turns`.
        seed: of the orientations, one drawn for every image at every step.
    """

    def __init__(self, learner: Strategy, *, seed: int = 0) -> None:
        super().__init__()
        self.learner, self.seed = learner, seed

    @property
    def roster(self) -> Roster:
        """The tasks begun so far."""
        return self.learner.roster

    def begin(self, task: Task) -> RotationsLesson:
        """Begin a task of four times the classes."""
        lesson = self.learner.begin(replace(task, classes=TURNS * task.classes))
        return RotationsLesson(lesson, self.seed, task.id)

    def predict(self, inputs: Tensor, task: int) -> Tensor:
        """Logits of the classes for images as they are."""
        return self.learner.predict(inputs, task)[:, ::TURNS]

    def state(self) -> dict[str, Tensor]:
        """The learner's."""
        return self.learner.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore the learner."""
        self.learner.load_state(state)

    def memory(self) -> dict[str, int]:
        """The learner's."""
        return self.learner.memory()


class RotationsLesson(Lesson):
    """Turns the images of a lesson.

    Args:
        lesson: of the learner.
        seed: of the orientations.
        task: which task is learned.

    Attributes:
        taken: steps taken so far.
    """

    def __init__(self, lesson: Lesson, seed: int, task: int) -> None:
        self.lesson, self.seed, self.task, self.taken = lesson, seed, task, 0

    def step(self, inputs: Tensor, labels: Tensor, task: int | None = None) -> Tensor:
        """One step of the learner on the images, each turned at random."""
        random = generator(self.seed, "turns", self.task, self.taken)
        turns = torch.randint(TURNS, (len(inputs),), generator=random).to(inputs.device)
        self.taken += 1
        return self.lesson.step(turned(inputs, turns), TURNS * labels + turns, task)

    def state(self) -> dict[str, Tensor] | None:
        """That of the learner's lesson, and how many batches were turned."""
        inner = self.lesson.state()
        return None if inner is None else {"turned": torch.tensor(self.taken), **inner}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on where another lesson of the same task was."""
        self.taken = int(state["turned"])
        self.lesson.load_state({name: value for name, value in state.items() if name != "turned"})

    def end(self) -> None:
        """Conclude the learner's task."""
        self.lesson.end()


def turned(images: Float[Tensor, "n c side side"], turns: Int[Tensor, " n"]) -> Float[Tensor, "n c side side"]:
    """Each image turned counter-clockwise by its number of quarter turns, in the memory layout of `images`.

    Raises:
        ConfigError: the images are not square.
    """
    if images.shape[-1] != images.shape[-2]:
        raise ConfigError(
            "rotations as labels",
            required="square images",
            found=f"images of {images.shape[-2]} x {images.shape[-1]} pixels",
            hint="Give --image-size, or train the trunk on classes alone (--no-trunk-rotations).",
        )
    result = torch.empty_like(images)
    for turn in range(TURNS):
        chosen = (turns == turn).nonzero().squeeze(1)
        result[chosen] = torch.rot90(images[chosen], turn, (-2, -1))
    return result
