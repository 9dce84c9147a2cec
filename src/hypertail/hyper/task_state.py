"""All that belongs to one task, taken out of a partial hypernetwork, stored, or put into another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hypertail.errors import CheckpointError
from hypertail.hyper.hypernetwork import Hypernetwork


@dataclass(frozen=True)
class TaskState:
    """One task of a `PartialHypernetwork`: what it does not share with others.

    Together with the shared parts (the MLP and the heads of the hypernetwork) it decides what the task answers.

    Attributes:
        id: of the task.
        classes: number of classes.
        name: what the user calls it, or None.
        parameters: its embedding (`embedding`), its rows of the task tables (`rows.NAME` for a parameter NAME of the
            tail) and its adapters (`adapters.NAME:FACTOR`).
        statistics: normalisation statistics, by the names of the buffers of the tail.
    """

    id: int
    classes: int
    name: str | None
    parameters: Mapping[str, Tensor]
    statistics: Mapping[str, Tensor]

    def tensors(self) -> dict[str, Tensor]:
        """All of it as named tensors, for `save_checkpoint`."""
        tensors = {"id": torch.tensor(self.id), "classes": torch.tensor(self.classes)}
        if self.name is not None:
            tensors["name"] = torch.tensor(list(self.name.encode()), dtype=torch.uint8)
        tensors |= {f"parameters.{name}": value for name, value in self.parameters.items()}
        return tensors | {f"statistics.{name}": value for name, value in self.statistics.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> TaskState:
        """What `tensors` gave.

        Raises:
            CheckpointError: no id or number of classes among them, or one that is no single whole number.
        """

        def number(name: str) -> int:
            value = tensors.get(name)
            if value is None or value.numel() != 1 or value.is_floating_point():
                raise CheckpointError(
                    f"'{name}' of a saved task",
                    required="one whole number",
                    found="none" if value is None else f"{value.dtype} of shape {tuple(value.shape)}",
                    hint="Use the tensors that TaskState.tensors gave.",
                )
            return int(value)

        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

        name = bytes(tensors["name"].tolist()).decode(errors="replace") if "name" in tensors else None
        return cls(number("id"), number("classes"), name, part("parameters."), part("statistics."))


def parameters_of_task(hyper: Hypernetwork, task: int) -> dict[str, Tensor]:
    """The parameters of `hyper` that belong to one task alone, as views of its own."""
    rows = {f"rows.{name}": table(task) for name, table in hyper.task_tables().items()}
    factors = {
        f"adapters.{name}:{factor}": value
        for name, adapters in hyper.task_adapters().items()
        for factor, value in adapters.of_task(task).items()
    }
    return {"embedding": hyper.embedding[task], **rows, **factors}


def check_tensors(what: str, tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> None:
    """Refuse tensors that do not have the names and shapes of others.

    Raises:
        CheckpointError: naming the first that is missing, foreign or of another shape.
    """
    for name in [*like, *tensors]:
        required = f"'{name}' of shape {tuple(like[name].shape)}" if name in like else f"no '{name}'"
        found = f"shape {tuple(tensors[name].shape)}" if name in tensors else "none"
        if name not in like or name not in tensors or like[name].shape != tensors[name].shape:
            raise CheckpointError(
                what,
                required=required,
                found=found,
                hint="Use a file that was not changed, and a tail and hypernetwork like those of the saved ones.",
            )
