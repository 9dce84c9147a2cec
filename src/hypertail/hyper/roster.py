"""The tasks that were learned, by id."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from hypertail.errors import CheckpointError, ConfigError, unknown_name, unknown_task


class Roster:
    """Task id -> number of classes, and the task's name where it has one. Ids may come in any order, with gaps.

    Attributes:
        classes: task id -> number of classes, in the order in which tasks were begun.
        names: task id -> name, of tasks that have one.
    """

    def __init__(self) -> None:
        self.classes: dict[int, int] = {}
        self.names: dict[int, str] = {}

    def admit(self, task: int, classes: int, name: str | None = None) -> None:
        """Take note of a new task.

        Raises:
            ConfigError: a negative id, no classes, a task learned already, or a name that another task has.
        """
        if task < 0 or classes < 1:
            raise ConfigError(
                f"task {task}",
                required="an id of at least 0 and at least 1 class",
                found=f"id {task} with {classes} classes",
                hint="Number tasks from 0.",
            )
        if task in self.classes:
            raise ConfigError(
                f"task {task} was learned already",
                required=f"an id other than {_listed(self.classes)}",
                found=f"{classes} classes for task {task}, which has learned {self.classes[task]}",
                hint="A task is learned once: learning more images into it would ruin what it knows; learn the new "
                "images as a task of its own.",
            )
        self.check_name(task, name)
        self.classes[task] = classes
        if name is not None:
            self.names[task] = name

    def check_name(self, task: int, name: str | None) -> None:
        """Refuse a name for a task that another one has.

        Raises:
            ConfigError: naming the other task.
        """
        for other, known in self.names.items():
            if name is not None and known == name and other != task:
                raise ConfigError(
                    f"task name '{name}'",
                    required="a name that no other task has",
                    found=f"the name of task {other}",
                    hint="Give the new task another name.",
                )

    def update(self, task: int, classes: int, name: str | None) -> None:
        """Give a task that was begun another number of classes and another name."""
        self.classes[task] = classes
        self.names.pop(task, None)
        if name is not None:
            self.names[task] = name

    def check(self, task: int) -> None:
        """Refuse a task that was never begun.

        Raises:
            ConfigError: naming the task.
        """
        if task not in self.classes:
            raise unknown_task(task, len(self.classes))

    def find(self, task: int | str) -> int:
        """The id of a task that was begun, told by its id or its name.

        Raises:
            ConfigError: there is no such task; for a name, with the nearest one.
        """
        if isinstance(task, int):
            self.check(task)
            return task
        for known, name in self.names.items():
            if name == task:
                return known
        raise unknown_name("task", task, self.names.values())

    def state(self) -> dict[str, Tensor]:
        """`tasks` and `classes`, one entry for each task, and the names as bytes, `names.ID`."""
        state = {
            "tasks": torch.tensor(list(self.classes), dtype=torch.long),
            "classes": torch.tensor(list(self.classes.values()), dtype=torch.long),
        }
        for task, name in self.names.items():
            state[f"names.{task}"] = torch.tensor(list(name.encode()), dtype=torch.uint8)
        return state

    def load_state(
        self,
        state: Mapping[str, Tensor],
        what: str,
        holds: Collection[int] | None = None,
        widths: Mapping[int, int] | None = None,
    ) -> None:
        """Restore what `state` returned, and check that every task's own tensors are there.

        States from before ids were saved hold tasks 0 .. n-1.

        Args:
            state: of the strategy.
            what: each task has of its own, such as "head".
            holds: the ids of tasks whose own tensors are in `state`; None where tasks have none.
            widths: outputs of each task, where tensors tell; older states say the number of classes by them alone.

        Raises:
            CheckpointError: naming the tasks whose tensors are missing, or that are not listed.
        """
        if "classes" in state:
            counts = state["classes"].tolist()
        else:
            counts = [] if widths is None else [widths[task] for task in sorted(widths)]
        ids = state["tasks"].tolist() if "tasks" in state else list(range(len(counts)))
        if len(ids) != len(counts) or len(set(ids)) != len(ids):
            raise _damaged("tasks", f"{len(counts)} different ids for {len(counts)} class counts", f"ids {ids}")
        classes = dict(zip(ids, counts, strict=True))
        if widths is not None:
            holds = widths
        for lost in sorted(set(classes) - set(classes if holds is None else holds)):
            raise _damaged(f"task {lost}", f"the {what} of every task: {_listed(classes)}", f"no {what} of it")
        for foreign in sorted(set(holds or ()) - set(classes)):
            raise _damaged(f"task {foreign}", f"the {what} of these tasks alone: {_listed(classes)}", "one of it too")
        for task, width in (widths or {}).items():
            if width != classes[task]:
                raise _damaged(f"task {task}", f"a {what} of {classes[task]} classes", f"one of {width}")
        self.classes = classes
        self.load_names(state)

    def load_names(self, state: Mapping[str, Tensor]) -> None:
        """Restore the names alone."""
        names = {task: state[f"names.{task}"].tolist() for task in ids_in(state, "names")}
        self.names = {task: bytes(name).decode(errors="replace") for task, name in names.items()}


def is_of_roster(name: str) -> bool:
    """Whether a tensor of a state, by its name, is one of those that `Roster.state` gives."""
    return name in ("tasks", "classes") or name.startswith("names.")


def ids_in(state: Mapping[str, Tensor], prefix: str) -> list[int]:
    """The ids of tasks with tensors named `prefix.ID` or `prefix.ID.…`, in the order of the state."""
    ids = (name[len(prefix) + 1 :].partition(".")[0] for name in state if name.startswith(prefix + "."))
    return list(dict.fromkeys(int(number) for number in ids if number.isascii() and number.isdecimal()))


def _damaged(problem: str, required: str, found: str) -> CheckpointError:
    return CheckpointError(
        f"{problem} of the checkpoint",
        required=required,
        found=found,
        hint="The file was changed after it was written, or belongs to another strategy: use one that was not.",
    )


def _listed(tasks: Collection[int]) -> str:
    return ", ".join(map(str, tasks)) or "none"
