"""A partial hypernetwork: frozen trunk, generated tail (section 2, Eqs. 2-4)."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from hypertail.errors import ConfigError, unknown_task
from hypertail.hyper.hypernetwork import Hypernetwork

Weights = dict[str, Tensor]


class PartialHypernetwork:
    """Trunk + tail + hypernetwork.

    The tail is a skeleton: its own parameters are never used, its weights for a task come from the hypernetwork and
    its normalisation statistics are kept per task.

    Args:
        trunk: images -> features.
        tail: features -> logits; gives the names and shapes to generate.
        hyper: generates exactly the parameters of `tail`.

    Raises:
        ConfigError: `hyper` does not generate the parameters of `tail`.
    """

    def __init__(self, trunk: nn.Module, tail: nn.Module, hyper: Hypernetwork) -> None:
        shapes = {name: tuple(parameter.shape) for name, parameter in tail.named_parameters()}
        if shapes != hyper.shapes:
            raise ConfigError(
                "hypernetwork and tail do not match",
                required=f"heads for {_listed(shapes)}",
                found=_listed(hyper.shapes),
                mend="Build the hypernetwork from the shapes of tail.named_parameters().",
            )
        self.trunk, self.tail, self.hyper = trunk, tail, hyper
        self.classes: dict[int, int] = {}
        self.statistics: dict[int, Weights] = {}
        self._fresh = {name: buffer.detach().clone() for name, buffer in tail.named_buffers()}

    def begin_task(self, task: int, classes: int) -> None:
        """Make room for a task: its number of classes and fresh normalisation statistics.

        Raises:
            ConfigError: more classes than the heads hold.
        """
        width = self.width
        if classes > width:
            raise ConfigError(
                f"task {task} has too many classes",
                required=f"at most {width} classes, the width of the heads",
                found=str(classes),
                mend=f"Build the hypernetwork with a classifier of at least {classes} outputs.",
            )
        self.hyper.grow(task + 1)
        self.classes[task] = classes
        self.statistics[task] = {name: buffer.clone() for name, buffer in self._fresh.items()}

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

    def weights(self, task: int) -> Weights:
        """The generated tail parameters of a learned task.

        Raises:
            ConfigError: the task was never begun.
        """
        if task not in self.classes:
            raise unknown_task(task, len(self.classes))
        return self.crop(self.hyper(task), self.classes[task])

    def apply(self, weights: Weights, features: Tensor, task: int) -> Tensor:
        """Logits of `features` under given tail weights and the statistics of `task`, in the tail's present mode.

        In training mode the running statistics of `task` are updated.
        """
        return cast(
            Tensor, functional_call(self.tail, {**weights, **self.statistics[task]}, (features,), tie_weights=False)
        )

    def apply_per_sample(self, weights: Weights, features: Tensor) -> Tensor:
        """Logits under one weight set per sample: the authors' way, every image a batch of one."""

        def one(single: Weights, feature: Tensor) -> Tensor:
            return cast(Tensor, functional_call(self.tail, single, (feature.unsqueeze(0),))).squeeze(0)

        return vmap(one)(weights, features)

    def forward(self, images: Tensor, task: int) -> Tensor:
        """Logits of `images` for `task`."""
        return self.apply(self.weights(task), self.trunk(images), task)

    __call__ = forward

    @torch.no_grad()
    def materialize(self, task: int) -> nn.Sequential:
        """A plain module with the generated weights of `task` and no trace of the hypernetwork, in evaluation mode."""
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


def _listed(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())
