"""Tail weights that a shared hypernetwork adds to a pretrained body, for tasks kept apart from each other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hypertail.errors import ConfigError
from hypertail.hyper.hypernetwork import Hypernetwork
from hypertail.nets.task_tail import AdaptedWeights, TailWeights, adaptable


def shared_hypernetwork(body: nn.Module, *, embedding: int = 32, rank: int = 36) -> Hypernetwork:
    """A hypernetwork for the weights of a body that add nothing yet.

    Its embedding has a row that nobody uses: a task of `GeneratedWeights` brings its own.

    Args:
        body: features -> vectors; gives names and shapes (`adaptable`).
        embedding: size of a task's embedding.
        rank: of the channel-wise heads.

    Raises:
        ConfigError: the body has no weight to generate.
    """
    values = dict(body.named_parameters())
    shapes = {name: tuple(values[name].shape) for name in adaptable(body)}
    if not shapes:
        raise ConfigError(
            "hypernetwork for this body",
            required="a linear layer, a convolution, an embedding or attention above the cut",
            found="none",
            hint="Cut the model earlier, or use another method.",
        )
    hyper = Hypernetwork(shapes, 1, embedding=embedding, rank=rank)
    for head in hyper.separable_heads().values():
        nn.init.zeros_(head.linear.weight)
        nn.init.zeros_(head.linear.bias)
    return hyper


def shared_parameters(hyper: Hypernetwork) -> dict[str, nn.Parameter]:
    """What all tasks share of it: the MLP and the heads, by name."""
    return {name: value for name, value in hyper.named_parameters() if name.startswith(("mlp.", "heads."))}


class GeneratedWeights(TailWeights):
    """W_j = W + H(e_j) + R_j: the body's own weight, what the hypernetwork generates, and an adapter of the task.

    A task owns e_j, R_j, and scales, shifts and biases. H is no part of the module: while it is fixed, no task can
    change another (section 2 of the paper has W and R_j zero, and H learned with every task).

    Args:
        body: its values are what a task starts from.
        hyper: of `shared_hypernetwork`; it generates for many tasks.
        rank: of R_j; 0 for none.
        generator: draws the embedding, e_j ~ N(0, 1), and the adapter's factors.
    """

    def __init__(self, body: nn.Module, hyper: Hypernetwork, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self._hyper = (hyper,)  # in a tuple, so that it is no part of this module
        self.embedding = nn.Parameter(torch.randn(hyper.embedding.shape[1], generator=generator).to(hyper.embedding))
        self.adapted = AdaptedWeights(body, rank, generator)
        self._body = (body,)

    @property
    def hyper(self) -> Hypernetwork:
        """What all tasks share."""
        return self._hyper[0]

    def stored(self) -> dict[str, nn.Parameter]:
        """Scales, shifts and biases."""
        return self.adapted.stored()

    def forward(self) -> dict[str, Tensor]:
        """The weights and vectors of the task."""
        weights: dict[str, Tensor] = self.adapted()
        own = dict(self._body[0].named_parameters())
        hidden = self.hyper.mlp(self.embedding.unsqueeze(0))
        for name, head in self.hyper.separable_heads().items():
            weights[name] = weights.get(name, own[name].detach()) + head(hidden)[0]
        return weights
