"""A partial hypernetwork: frozen trunk, generated tail (section 2, Eqs. 2-4)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from hypertail.errors import ConfigError
from hypertail.hyper.hypernetwork import Hypernetwork
from hypertail.hyper.roster import Roster, ids_in
from hypertail.hyper.tails import check_tail
from hypertail.hyper.task_state import TaskState, check_tensors, parameters_of_task
from hypertail.nets.classifier import inside_attention, parameter_at
from hypertail.nets.cut import stage_named
from hypertail.nets.frozen import unwrapped
from hypertail.nets.mode import in_mode
from hypertail.nets.tensors import BuffersOfTasks

Weights = dict[str, Tensor]

MOST_TASKS = 10_000
"""Ids stay below it: the hypernetwork keeps a row for every id up to the highest."""


class PartialHypernetwork(nn.Module):
    """Trunk + tail + hypernetwork.

    The tail is a skeleton: its own parameters are never used, and are in no state dict; its weights for a task come
    from the hypernetwork and its normalisation statistics are kept per task. It is in evaluation mode, and serving
    changes no task, unless someone puts it into training mode to train it.

    Args:
        trunk: images -> features.
        tail: features -> logits; gives the names and shapes to generate.
        hyper: generates exactly the parameters of `tail`.

    Raises:
        ConfigError: `hyper` does not generate the parameters of `tail`, its classifier is no linear layer, or the tail
            has a parameter that cannot be generated (see `check_tail`).
    """

    def __init__(self, trunk: nn.Module, tail: nn.Module, hyper: Hypernetwork) -> None:
        super().__init__()
        self.training = False
        check_tail(tail)
        shapes = {name: tuple(parameter.shape) for name, parameter in tail.named_parameters()}
        if shapes != hyper.shapes:
            raise ConfigError(
                "hypernetwork and tail do not match",
                required=f"heads for {_listed(shapes)}",
                found=_listed(hyper.shapes),
                hint="Build the hypernetwork by Hypernetwork.for_tail(tail, tasks).",
            )
        _check_classifier(tail, hyper.classifier)
        self.trunk, self.tail, self.hyper = trunk, tail.eval(), hyper
        self.roster = Roster()
        self.statistics = BuffersOfTasks()
        # running statistics of the tail's own never move: they are what a task starts from
        self.register_state_dict_post_hook(_without_tail)  # type: ignore[no-untyped-call]

    @property
    def classes(self) -> dict[int, int]:
        """Task id -> number of classes, in the order in which tasks were begun."""
        return self.roster.classes

    def begin_task(self, task: int, classes: int, name: str | None = None) -> None:
        """Make room for a task: its number of classes and fresh normalisation statistics.

        Raises:
            ConfigError: a task that was begun before, more classes than the heads hold, or an id below 0 or above
                `MOST_TASKS`.
        """
        if task >= MOST_TASKS:
            raise ConfigError(
                f"task id {task}",
                required=f"an id below {MOST_TASKS}: there is a row of the hypernetwork for each id up to the highest",
                found=str(task),
                hint="Number tasks from 0.",
            )
        self._check_width(task, classes)
        self.roster.admit(task, classes, name)
        self.hyper.grow(task + 1)
        self.statistics[task] = {name: buffer.detach().clone() for name, buffer in self.tail.named_buffers()}

    def task_state(self, task: int | str) -> TaskState:
        """A copy of all that belongs to one task (its id or name), to be kept or put into another network.

        Raises:
            ConfigError: the task was never begun.
        """
        task = self.roster.find(task)
        return TaskState(
            task,
            self.classes[task],
            self.roster.names.get(task),
            {name: value.detach().clone() for name, value in parameters_of_task(self.hyper, task).items()},
            {name: value.clone() for name, value in self.statistics[task].items()},
        )

    @torch.no_grad()
    def load_task(self, state: TaskState) -> None:
        """Put a task in, in place of the one with its id if there is one; no other task changes.

        What the task generates is as it was where the shared parts of the hypernetwork are.

        Raises:
            ConfigError: more classes than the heads hold, or a name that another task has.
            CheckpointError: tensors that are missing, foreign or of other shapes; nothing has changed then.
        """
        statistics = dict(self.tail.named_buffers())
        check_tensors(f"task {state.id}", state.parameters, parameters_of_task(self.hyper, 0))
        check_tensors(f"statistics of task {state.id}", state.statistics, statistics)
        if state.id in self.classes:
            self.roster.check_name(state.id, state.name)
            self._check_width(state.id, state.classes)
            self.roster.update(state.id, state.classes, state.name)
        else:
            self.begin_task(state.id, state.classes, state.name)
        for name, place in parameters_of_task(self.hyper, state.id).items():
            place.copy_(state.parameters[name])
        self.statistics[state.id] = {
            name: value.to(statistics[name], copy=True) for name, value in state.statistics.items()
        }

    def load_tasks(self, state: Mapping[str, Tensor]) -> None:
        """Restore the list of tasks, with room for what each of them has, in place of those there are.

        Args:
            state: what `Roster.state` gave, and `statistics.ID.NAME` for each buffer of the tail.

        Raises:
            CheckpointError: naming a task whose statistics are missing or do not fit.
        """
        fresh = dict(self.tail.named_buffers())
        self.roster.load_state(state, "statistics", holds=ids_in(state, "statistics") if fresh else None)
        self.statistics.clear()
        for task in self.classes:
            prefix = f"statistics.{task}."
            saved = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
            check_tensors(f"statistics of task {task}", saved, fresh)
            self.statistics[task] = {name: value.to(fresh[name], copy=True) for name, value in saved.items()}
        self.hyper.grow(max(self.classes, default=-1) + 1)
        self.tail.eval()

    def _check_width(self, task: int, classes: int) -> None:
        if self.width is not None and classes > self.width:
            raise ConfigError(
                f"task {task} has too many classes",
                required=f"at most {self.width} classes, the width of the heads",
                found=str(classes),
                hint=f"Build the hypernetwork with a classifier of at least {classes} outputs.",
            )

    @property
    def width(self) -> int | None:
        """Outputs of the classifier that is generated; None for a tail without one, whose outputs are never cropped."""
        name = self.hyper.classifier
        return None if name is None else self.hyper.shapes[name][0]

    def crop(self, weights: Weights, classes: int, dim: int = 0) -> Weights:
        """Keep the classifier rows of the first `classes` outputs: a task has its own number of classes."""
        name = self.hyper.classifier
        if name is None or classes == self.width:
            return weights
        path = name.rpartition(".")[0]
        rows = (name, parameter_at(path, "bias"))
        return {key: value.narrow(dim, 0, classes) if key in rows else value for key, value in weights.items()}

    def weights(self, task: int | str) -> Weights:
        """The generated tail parameters of a learned task, told by its id or name.

        Raises:
            ConfigError: the task was never begun.
        """
        task = self.roster.find(task)
        return self.crop(self.hyper(task), self.classes[task])

    def logits(self, weights: Weights, features: Tensor, task: int, *, training: bool | None = None) -> Tensor:
        """Logits of `features` under given tail weights and the statistics of `task`.

        Args:
            weights: of the tail, by name.
            features: a batch of what the trunk makes of images.
            task: whose statistics serve.
            training: False: in evaluation mode, and nothing changes. True: in training mode, which updates the running
                statistics of `task`. None: in the mode the tail is in, which is evaluation but in training.

        Raises:
            ConfigError: a stage of the tail cannot take what the stage before it gives.
        """
        mode = nullcontext() if training is None else in_mode(training, self.tail)
        with mode, stage_named("tail", self.tail, features):
            return cast(
                Tensor,
                functional_call(self.tail, {**weights, **self.statistics[task]}, (features,), tie_weights=False),
            )

    def logits_per_sample(self, weights: Weights, features: Tensor) -> Tensor:
        """Logits under one weight set per sample: the authors' way, every image a batch of one."""

        def one(single: Weights, feature: Tensor) -> Tensor:
            return cast(Tensor, functional_call(self.tail, single, (feature.unsqueeze(0),))).squeeze(0)

        return vmap(one)(weights, features)

    def forward(self, images: Tensor, task: int | str) -> Tensor:
        """Logits of `images` for the task of that id or name, trunk and tail in evaluation mode; nothing changes.

        Raises:
            ConfigError: the task was never begun.
        """
        task = self.roster.find(task)
        weights = self.weights(task)
        with in_mode(False, self.trunk):
            features = self.trunk(images)
        return self.logits(weights, features, task, training=False)

    @torch.no_grad()
    def materialize(self, task: int | str) -> nn.Sequential:
        """A plain module with the weights of a task (an id or a name), in evaluation mode.

        There is no trace of the hypernetwork in it.

        It holds no image or feature, and no memory in common with the hypernetwork. To export it, make the example
        input afresh, such as `torch.zeros(2, 3, 32, 32)`, as examples/02 does: `torch.export.save` writes the example
        into its file, and `images[:2]` is a view that brings along every image of `images`.

        Raises:
            ConfigError: the task was never begun.
        """
        task = self.roster.find(task)
        tail = copy.deepcopy(self.tail)
        weights = self.weights(task)
        name = self.hyper.classifier
        if name is not None:
            classifier = tail.get_submodule(name.rpartition(".")[0])
            for part, parameter in list(classifier.named_parameters()):
                setattr(classifier, part, nn.Parameter(parameter[: self.classes[task]].clone()))
            classifier.out_features = self.classes[task]  # type: ignore[assignment]
        tail.load_state_dict(weights, strict=False)
        for name, buffer in tail.named_buffers():  # those that are not persistent too
            buffer.copy_(self.statistics[task][name])
        return nn.Sequential(copy.deepcopy(unwrapped(self.trunk)), tail).eval()

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        state_dict.update({f"{prefix}tail.{name}": value for name, value in self.tail.state_dict().items()})
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _without_tail(net: nn.Module, state: dict[str, Any], prefix: str, metadata: dict[str, Any]) -> None:
    for name in [name for name in state if name.startswith(f"{prefix}tail.")]:
        del state[name]


def _check_classifier(tail: nn.Module, name: str | None) -> None:
    if name is None:
        return
    layer = tail.get_submodule(name.rpartition(".")[0])
    if not isinstance(layer, nn.Linear) or not name.endswith("weight") or inside_attention(tail, name):
        raise ConfigError(
            f"classifier '{name}' of the tail",
            required="the weight of the nn.Linear that gives the logits",
            found=f"a parameter of {type(layer).__name__}",
            hint="Name it: Hypernetwork.for_tail(tail, tasks, classifier='head.weight').",
        )


def _listed(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())
