"""A shared body with one linear classifier per task."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from hypertail.errors import ConfigError, unknown_task
from hypertail.hyper.roster import ids_in
from hypertail.nets.classifier import classifier_of
from hypertail.nets.cut import stage_named
from hypertail.seeds import seeded


class MultiHead(nn.Module):
    """The body of a model (all but its last linear layer) and one head per task, found by the task's id.

    In evaluation mode until it is put into training mode.

    Args:
        model: its classifier (`classifier_of`) is replaced.
        seed: heads are initialised from it.

    Raises:
        ConfigError: a model without a linear layer.
    """

    _place: Tensor

    def __init__(self, model: nn.Module, seed: int) -> None:
        super().__init__()
        body, path = copy.deepcopy(model), classifier_of(model)
        if path is None:
            raise ConfigError(
                "model without a classifier",
                required="a last nn.Linear layer",
                found=type(model).__name__,
                hint="End the model with nn.Linear.",
            )
        self.width: int = body.get_submodule(path).in_features  # type: ignore[assignment]
        if path:
            parent, _, name = path.rpartition(".")
            setattr(body.get_submodule(parent), name, nn.Identity())
        else:
            body = nn.Identity()
        self.body, self.seed = body, seed
        # says where new heads belong, also behind a body without parameters
        self.register_buffer("_place", next(model.parameters()).new_empty(0), persistent=False)
        self.heads = nn.ModuleDict()
        self.eval()

    @property
    def widths(self) -> dict[int, int]:
        """Task id -> outputs of its head."""
        return {int(task): int(head.out_features) for task, head in self.heads.items()}  # type: ignore[arg-type]

    def add_task(self, classes: int, task: int | None = None) -> None:
        """Add the head of a task; without an id, of the next one.

        Raises:
            ConfigError: the task has a head.
        """
        if task is None:
            task = max(self.widths, default=-1) + 1
        if str(task) in self.heads:
            raise ConfigError(
                f"head of task {task}",
                required="a task without one",
                found=f"a head of {self.widths[task]} classes",
                hint="Learn new images as a task of its own.",
            )
        with seeded(self.seed, "head", task):
            head = nn.Linear(self.width, classes)
        self.heads[str(task)] = head.to(self._place)

    def forward(self, inputs: Tensor, task: int) -> Tensor:
        """Logits for inputs of one task.

        Raises:
            ConfigError: the task has no head, or a stage of the model cannot take what it is given.
        """
        if str(task) not in self.heads:
            raise unknown_task(task, len(self.heads))
        with stage_named("model", self.body, inputs):
            hidden = self.body(inputs)
        return self.heads[str(task)](hidden)  # type: ignore[no-any-return]

    def of_every_task(self, inputs: Tensor) -> dict[int, Tensor]:
        """Task id -> logits of its head; all heads see the same inputs."""
        with stage_named("model", self.body, inputs):
            hidden = self.body(inputs)
        return {int(task): head(hidden) for task, head in self.heads.items()}

    def mixed(self, inputs: Tensor, tasks: Tensor) -> Tensor:
        """Logits for inputs of several tasks; outputs a task does not have are minus infinity."""
        hidden: Tensor = self.body(inputs)
        width = max(self.widths.values())
        logits = hidden.new_full((len(hidden), width), -torch.inf)
        for task in torch.unique(tasks).tolist():
            chosen = tasks == task
            of_task = self.heads[str(task)](hidden[chosen])
            logits[chosen, : of_task.shape[1]] = of_task.to(logits.dtype)  # autocast gives another precision
        return logits

    def make_heads(self, state: Mapping[str, Tensor], tasks: Iterable[int]) -> None:
        """New heads for `tasks`, in their order and as wide as those of a state dict, in place of those there are."""
        widths = head_widths(state)
        self.heads = nn.ModuleDict()
        for task in tasks:
            self.add_task(widths.get(task, 0), task)
        self.eval()


def head_widths(state: Mapping[str, Tensor]) -> dict[int, int]:
    """Task id -> outputs of its head, in the state dict of a `MultiHead`."""
    weights = {task: f"heads.{task}.weight" for task in ids_in(state, "heads")}
    return {task: len(state[name]) for task, name in weights.items() if name in state}
