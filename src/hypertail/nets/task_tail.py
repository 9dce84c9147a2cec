"""The tail of one task over a body that all tasks share: what the task owns, and a linear head."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from hypertail.nets.adapter import TaskAdapters, shaped
from hypertail.nets.applied import applied, copy_of_thread
from hypertail.nets.classifier import inside_attention, parameter_at
from hypertail.nets.statistics import compute_statistics
from hypertail.nets.task_head import TaskHead
from hypertail.nets.tensors import BufferDict


class TailWeights(nn.Module, ABC):
    """What a task owns of a body; its parameters are exactly that."""

    @abstractmethod
    def forward(self) -> dict[str, Tensor]:
        """Weights of the body, by name. Those that are not there are the body's own."""

    def stored(self) -> dict[str, nn.Parameter]:
        """Parameters of this module that stand for one of the body as they are, by its name there."""
        return {}


class SharedWeights(TailWeights):
    """A task that owns nothing of the body."""

    def forward(self) -> dict[str, Tensor]:
        """No weights."""
        return {}


class StoredWeights(TailWeights):
    """A task that owns all weights of the body, begun from its values."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        values = {_key(name): nn.Parameter(value.detach().clone()) for name, value in body.named_parameters()}
        self.values = nn.ParameterDict(values)

    def forward(self) -> dict[str, Tensor]:
        """The stored weights."""
        return dict(self.stored())

    def stored(self) -> dict[str, nn.Parameter]:
        """All of them."""
        return {_name(key): value for key, value in self.values.items()}


class AdaptedWeights(TailWeights):
    """A task that owns scales, shifts and biases, and adds a low-rank change to every weight.

        W_j = W + R_j,    R_j of rank q in canonical polyadic form (`TaskAdapters`),

    where W is the body's own: LoRA for a linear layer (Hu et al., 2021, https://arxiv.org/abs/2106.09685). Factors
    start so that R_j is zero. Parameters of two dimensions or more that belong to no known layer stay the body's.

    Args:
        body: its values are what a task starts from; they are read, not copied, and must not change.
        rank: q; 0 for no change of weights.
        generator: draws the factors.
    """

    def __init__(self, body: nn.Module, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        own = dict(body.named_parameters())
        self._shared = (body,)  # in a tuple, so that it is no part of this module
        self._adapted = tuple(adaptable(body) if rank else ())
        vectors = {_key(name): nn.Parameter(value.detach().clone()) for name, value in own.items() if value.dim() < 2}
        self.vectors = nn.ParameterDict(vectors)
        self.adapters = nn.ModuleDict()
        for name in self._adapted:
            adapters = TaskAdapters(tuple(own[name].shape), 1, rank).to(own[name])
            adapters.begin(0, generator)
            self.adapters[_key(name)] = adapters

    def forward(self) -> dict[str, Tensor]:
        """The adapted weights and the vectors of the task."""
        weights: dict[str, Tensor] = dict(self.stored())
        # looked up each time: the body may have been moved or loaded
        own = dict(self._shared[0].named_parameters()) if self._adapted else {}
        for name in self._adapted:
            fixed = own[name].detach()
            weights[name] = fixed + shaped(self.adapters[_key(name)](0), fixed.shape)
        return weights

    def stored(self) -> dict[str, nn.Parameter]:
        """Scales, shifts and biases."""
        return {_name(key): value for key, value in self.vectors.items()}


class TaskTail(nn.Module):
    """Features -> logits of one task: the body with the task's weights and statistics, then a linear head.

    The body is not part of the module: its tensors are in no state dict, and `.to` leaves it where it is.

    Args:
        body: features -> (n, width), shared by all tasks; never changed.
        weights: what the task owns of it.
        width: numbers that the body gives for an example.
        classes: outputs of the head, which starts at zero.
        own_statistics: whether the task has normalisation statistics of its own; otherwise those of the body serve,
            and the body is always in evaluation mode.
    """

    def __init__(
        self, body: nn.Module, weights: TailWeights, width: int, classes: int, *, own_statistics: bool = True
    ) -> None:
        super().__init__()
        self._shared = (body,)  # in a tuple, so that it is no part of this module
        self.weights = weights
        self.head = TaskHead(width, classes)
        kept = dict(body.named_buffers()) if own_statistics else {}
        self.statistics = BufferDict({name: buffer.detach().clone() for name, buffer in kept.items()})
        self.own_statistics = own_statistics
        self.eval()

    @property
    def body(self) -> nn.Module:
        """What all tasks share."""
        return self._shared[0]

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers of the body as this task has them, by name; those of the body alone are not there."""
        return {**self.weights(), **self.statistics}

    def embedding(self, features: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n width"]:
        """What the head is given."""
        return applied(self.body, self.tensors(), features, training=self.training and self.own_statistics)

    def forward(self, features: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n classes"]:
        """Logits."""
        logits: Tensor = self.head(self.embedding(features))
        return logits

    def recompute_statistics(self, features: Shaped[Tensor, "n ..."]) -> None:
        """Set the statistics of batch normalisation to those over `features` (`compute_statistics`)."""
        if any(isinstance(layer, _BatchNorm) for layer in self.body.modules()) and self.own_statistics:
            with torch.no_grad():
                weights = {name: value.detach() for name, value in self.weights().items()}
                body = copy_of_thread(self.body)
                compute_statistics(body, self.statistics, self._in_training(weights), features)

    def _in_training(self, weights: dict[str, Tensor]) -> Callable[[Tensor], object]:
        def forward(features: Tensor) -> Tensor:
            return applied(self.body, {**weights, **self.statistics}, features, training=True)

        return forward

    @torch.no_grad()
    def materialize(self) -> nn.Sequential:
        """A plain module with copies of all weights, in evaluation mode; no trace of how they came about is in it."""
        body = copy.deepcopy(self.body)
        own = self.tensors()
        for name, value in (*body.named_parameters(), *body.named_buffers()):
            if name in own:
                value.copy_(own[name])
        return nn.Sequential(body, self.head.joined()).eval()


def adaptable(body: nn.Module) -> list[str]:
    """The weights that a low-rank change fits: of linear layers, convolutions, embeddings and attention."""
    found = []
    for path, layer in body.named_modules():
        for own, parameter in layer.named_parameters(recurse=False):
            name = parameter_at(path, own)
            known = isinstance(layer, nn.Linear | _ConvNd | nn.Embedding) or inside_attention(body, name)
            if parameter.dim() >= 2 and known:
                found.append(name)
    return found


def _key(name: str) -> str:
    # module names may not hold dots
    return name.replace(".", "/")


def _name(key: str) -> str:
    return key.replace("/", ".")
