"""A module that no longer learns."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Wrapper(nn.Module):
    """Something around a module, `module`, that decides how it is run."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


def unwrapped(module: nn.Module) -> nn.Module:
    """The module inside any number of wrappers."""
    while isinstance(module, Wrapper):
        module = module.module
    return module


class Frozen(Wrapper):
    """A module that no longer learns: no gradients, and normalisation statistics fixed for good.

    `.train()` on it, or on a module that contains it, leaves it in evaluation mode, so that the features of an
    image depend on that image alone.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> Frozen:
        """Stay in evaluation mode whatever is asked."""
        super().train(False)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """The output of the frozen module, detached."""
        with torch.no_grad():
            return self.module(x)  # type: ignore[no-any-return]
