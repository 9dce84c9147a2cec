"""A shared body with one linear classifier per task."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from hypertail.errors import ConfigError, unknown_task
from hypertail.hyper.roster import ids_in
from hypertail.nets.cut import stage_named
from hypertail.seeds import seeded
from hypertail.strategies.strategy import load_module


class MultiHead(nn.Module):
    """The body of a model (all but its last linear layer) and one head per task, found by the task's id.

    In evaluation mode until it is put into training mode.

    Args:
        model: ends in a linear classifier, which is replaced.
        seed: heads are initialised from it.

    Raises:
        ConfigError: a model without a linear layer.
    """

    def __init__(self, model: nn.Module, seed: int) -> None:
        super().__init__()
        body = copy.deepcopy(model)
        linear = [name for name, module in body.named_modules() if isinstance(module, nn.Linear)]
        if not linear:
            raise ConfigError(
                "model without a classifier",
                required="a last nn.Linear layer",
                found=type(model).__name__,
                hint="End the model with nn.Linear.",
            )
        parent, _, name = linear[-1].rpartition(".")
        self.width: int = body.get_submodule(linear[-1]).in_features  # type: ignore[assignment]
        setattr(body.get_submodule(parent), name, nn.Identity())
        self.body, self.seed = body, seed
        self.device = next(model.parameters()).device
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
        self.heads[str(task)] = head.to(self.device)

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

    def mixed(self, inputs: Tensor, tasks: Tensor) -> Tensor:
        """Logits for inputs of several tasks; outputs a task does not have are minus infinity."""
        hidden: Tensor = self.body(inputs)
        width = max(self.widths.values())
        logits = hidden.new_full((len(hidden), width), -torch.inf)
        for task in torch.unique(tasks).tolist():
            chosen = tasks == task
            own = self.heads[str(task)](hidden[chosen])
            logits[chosen, : own.shape[1]] = own.to(logits.dtype)  # autocast gives another precision
        return logits

    def load_heads(self, state: dict[str, Tensor], tasks: Iterable[int] | None = None) -> None:
        """Load a state dict with the heads it holds, in place of those there are.

        Args:
            state: of another module of this kind.
            tasks: the order of the heads, where it is known.

        Raises:
            CheckpointError: tensors that are missing or do not fit.
        """
        self.heads = nn.ModuleDict()
        for task in sorted(ids_in(state, "heads")) if tasks is None else tasks:
            self.add_task(len(state.get(f"heads.{task}.weight", ())), task)
        load_module(self, state, "model")
        self.eval()


def head_widths(state: dict[str, Tensor]) -> dict[int, int]:
    """Task id -> outputs of its head, in the state dict of a `MultiHead`."""
    weights = {task: f"heads.{task}.weight" for task in ids_in(state, "heads")}
    return {task: len(state[name]) for task, name in weights.items() if name in state}
