"""A partial hypernetwork: frozen trunk, generated tail (section 2, Eqs. 2-4)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import nullcontext
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from hypertail.errors import CheckpointError, ConfigError
from hypertail.hyper.hypernetwork import Hypernetwork
from hypertail.hyper.roster import Roster, ids_in
from hypertail.hyper.tails import check_tail, inside_attention
from hypertail.nets.cut import stage_named
from hypertail.nets.mode import in_mode

Weights = dict[str, Tensor]

MOST_TASKS = 10_000
"""Ids stay below it: the hypernetwork keeps a row for every id up to the highest."""


class PartialHypernetwork:
    """Trunk + tail + hypernetwork.

    The tail is a skeleton: its own parameters are never used, its weights for a task come from the hypernetwork and
    its normalisation statistics are kept per task. It is in evaluation mode, and serving changes no task, unless
    someone puts it into training mode to train it.

    Args:
        trunk: images -> features.
        tail: features -> logits; gives the names and shapes to generate.
        hyper: generates exactly the parameters of `tail`.

    Raises:
        ConfigError: `hyper` does not generate the parameters of `tail`, its classifier is no linear layer, or the tail
            has a parameter that cannot be generated (see `check_tail`).
    """

    def __init__(self, trunk: nn.Module, tail: nn.Module, hyper: Hypernetwork) -> None:
        check_tail(tail)
        shapes = {name: tuple(parameter.shape) for name, parameter in tail.named_parameters()}
        if shapes != hyper.shapes:
            raise ConfigError(
                "hypernetwork and tail do not match",
                required=f"heads for {_listed(shapes)}",
                found=_listed(hyper.shapes),
                hint="Build the hypernetwork from the shapes of tail.named_parameters().",
            )
        _check_classifier(tail, hyper.classifier)
        self.trunk, self.tail, self.hyper = trunk, tail.eval(), hyper
        self.roster = Roster()
        self.statistics: dict[int, Weights] = {}
        self._fresh = {name: buffer.detach().clone() for name, buffer in tail.named_buffers()}

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
        width = self.width
        if classes > width:
            raise ConfigError(
                f"task {task} has too many classes",
                required=f"at most {width} classes, the width of the heads",
                found=str(classes),
                hint=f"Build the hypernetwork with a classifier of at least {classes} outputs.",
            )
        self.roster.admit(task, classes, name)
        self.hyper.grow(task + 1)
        self.statistics[task] = {name: buffer.clone() for name, buffer in self._fresh.items()}

    def load_tasks(self, state: Mapping[str, Tensor]) -> None:
        """Restore tasks and their statistics, in place of those there are.

        Args:
            state: what `Roster.state` gave, and `statistics.ID.NAME` for each buffer of the tail.

        Raises:
            CheckpointError: naming a task whose statistics are missing or do not fit.
        """
        self.roster.load_state(state, "statistics", holds=ids_in(state, "statistics") if self._fresh else None)
        self.statistics = {}
        for task in self.classes:
            own = {name: state.get(f"statistics.{task}.{name}") for name in self._fresh}
            for name, value in own.items():
                if value is None or value.shape != self._fresh[name].shape:
                    raise CheckpointError(
                        f"statistics of task {task}",
                        required=f"'{name}' of shape {tuple(self._fresh[name].shape)}",
                        found="none" if value is None else f"shape {tuple(value.shape)}",
                        hint="Use a file that was not changed, and a tail like that of the saved strategy.",
                    )
            # copies: what is trained later must not change the state that was loaded
            self.statistics[task] = {name: value.clone() for name, value in own.items() if value is not None}
        self.hyper.grow(max(self.classes, default=-1) + 1)
        self.tail.eval()

    @property
    def width(self) -> int:
        """Outputs that the classifier head generates."""
        name = self.hyper.classifier
        return next(reversed(self.hyper.shapes.values()))[0] if name is None else self.hyper.shapes[name][0]

    def crop(self, weights: Weights, classes: int, dim: int = 0) -> Weights:
        """Keep the classifier rows of the first `classes` outputs: a task has its own number of classes."""
        name = self.hyper.classifier
        if name is None or classes == self.width:
            return weights
        bias = name.removesuffix("weight") + "bias"
        return {key: value.narrow(dim, 0, classes) if key in (name, bias) else value for key, value in weights.items()}

    def weights(self, task: int | str) -> Weights:
        """The generated tail parameters of a learned task, told by its id or name.

        Raises:
            ConfigError: the task was never begun.
        """
        task = self.roster.find(task)
        return self.crop(self.hyper(task), self.classes[task])

    def apply(self, weights: Weights, features: Tensor, task: int, *, training: bool | None = None) -> Tensor:
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

    def apply_per_sample(self, weights: Weights, features: Tensor) -> Tensor:
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
        return self.apply(weights, features, task, training=False)

    __call__ = forward

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
        return nn.Sequential(copy.deepcopy(self.trunk), tail).eval()

    def to(self, device: torch.device | str) -> PartialHypernetwork:
        """Move everything to a device."""
        self.trunk.to(device)
        self.tail.to(device)
        self.hyper.to(device)
        self._fresh = {name: buffer.to(device) for name, buffer in self._fresh.items()}
        self.statistics = {
            task: {name: buffer.to(device) for name, buffer in own.items()} for task, own in self.statistics.items()
        }
        return self


def _check_classifier(tail: nn.Module, name: str | None) -> None:
    if name is None:
        return
    layer = tail.get_submodule(name.rpartition(".")[0])
    if not isinstance(layer, nn.Linear) or not name.endswith("weight") or inside_attention(tail, name):
        raise ConfigError(
            f"classifier '{name}' of the tail",
            required="the weight of the nn.Linear that gives the logits",
            found=f"a parameter of {type(layer).__name__}",
            hint="Name it: Hypernetwork(shapes, tasks, classifier='head.weight').",
        )


def _listed(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())
