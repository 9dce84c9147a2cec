"""A shared body with one linear classifier per task."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from hypertail.errors import ConfigError, unknown_task
from hypertail.seeds import seeded


class MultiHead(nn.Module):
    """The body of a model (all but its last linear layer) and one head per task.

    Args:
        model: ends in a linear classifier, which is replaced.
        seed: heads are initialised from it.
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
                mend="End the model with nn.Linear.",
            )
        parent, _, name = linear[-1].rpartition(".")
        self.width: int = body.get_submodule(linear[-1]).in_features  # type: ignore[assignment]
        setattr(body.get_submodule(parent), name, nn.Identity())
        self.body, self.seed = body, seed
        self.device = next(model.parameters()).device
        self.heads = nn.ModuleList()

    def add_task(self, classes: int) -> None:
        """Append the head of the next task."""
        with seeded(self.seed, "head", len(self.heads)):
            head = nn.Linear(self.width, classes)
        self.heads.append(head.to(self.device))

    def forward(self, inputs: Tensor, task: int) -> Tensor:
        """Logits for inputs of one task."""
        if not 0 <= task < len(self.heads):
            raise unknown_task(task, len(self.heads))
        return self.heads[task](self.body(inputs))  # type: ignore[no-any-return]

    def mixed(self, inputs: Tensor, tasks: Tensor) -> Tensor:
        """Logits for inputs of several tasks; outputs a task does not have are minus infinity."""
        hidden: Tensor = self.body(inputs)
        width = max(int(head.out_features) for head in self.heads)  # type: ignore[arg-type]
        logits = hidden.new_full((len(hidden), width), -torch.inf)
        for task in torch.unique(tasks).tolist():
            chosen = tasks == task
            own = self.heads[task](hidden[chosen])
            logits[chosen, : own.shape[1]] = own.to(logits.dtype)  # autocast gives another precision
        return logits

    def load_heads(self, state: dict[str, Tensor]) -> None:
        """Load a state dict, adding the heads it holds first."""
        while f"heads.{len(self.heads)}.weight" in state:
            self.add_task(state[f"heads.{len(self.heads)}.weight"].shape[0])
        self.load_state_dict(state)
