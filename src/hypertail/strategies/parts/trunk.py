"""The trunk of a strategy: learned with the first experience or given, then frozen."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hypertail.errors import check_choice
from hypertail.nets import Frozen
from hypertail.nets.cut import stage_named
from hypertail.nets.mode import in_mode
from hypertail.strategies.strategy import load_module

TrunkStatistics = Literal["fixed", "batch"]


class Trunk:
    """Images -> features, trainable during the first experience only.

    Args:
        module: the first layers of the main model.
        learns: whether the first experience trains it; otherwise it is frozen from the start.
        statistics: once frozen, normalisation statistics are `fixed` (frozen wholly), or taken from each `batch`, as
            the authors' code does at training and at test: the features of an image then depend on its batch. The
            running statistics stay as the first experience left them.
    """

    def __init__(self, module: nn.Module, *, learns: bool, statistics: TrunkStatistics = "fixed") -> None:
        check_choice("trunk statistics", statistics, get_args(TrunkStatistics))
        self.module, self.statistics = module.eval(), statistics
        self.learning = learns and any(True for _ in module.parameters())
        if not self.learning:
            self.freeze()

    def freeze(self) -> None:
        """Stop learning, for good."""
        self.learning = False
        if not isinstance(self.module, Frozen):
            if self.statistics == "fixed":
                self.module = Frozen(self.module)
            else:
                self.module.requires_grad_(False).eval()

    @property
    def cacheable(self) -> nn.Module | None:
        """The module, if its features are functions of single images from now on."""
        return self.module if isinstance(self.module, Frozen) else None

    def __call__(self, inputs: Tensor, *, training: bool) -> Tensor:
        """Features of what the engine passes in: images, unless the engine has applied the frozen module already."""
        if self.cacheable is not None:
            return inputs
        if self.learning:
            self.module.train(training)
            with stage_named("trunk", self.module, inputs):
                return self.module(inputs)  # type: ignore[no-any-return]
        # what the batch would do to the running statistics is done to copies
        copies = {name: buffer.clone() for name, buffer in self.module.named_buffers()}
        with torch.no_grad(), in_mode(True, self.module):
            return functional_call(self.module, copies, (inputs,))  # type: ignore[no-any-return]

    def features(self, inputs: Tensor, chunk: int = 250) -> Tensor:
        """Features of many inputs, for keeping."""
        if self.cacheable is not None:
            return inputs
        with torch.no_grad():
            return torch.cat([self(part, training=False) for part in inputs.split(chunk)])

    def parameters(self) -> dict[str, Tensor]:
        """The parameters that learn now, as `trunk.name`."""
        return {f"trunk.{name}": p for name, p in self.module.named_parameters()} if self.learning else {}

    def state(self) -> dict[str, Tensor]:
        """Parameters and statistics."""
        inner = self.module.module if isinstance(self.module, Frozen) else self.module
        return {name: value.detach() for name, value in inner.state_dict().items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore a trunk that had been frozen.

        Raises:
            CheckpointError: tensors that are missing or do not fit.
        """
        load_module(self.module.module if isinstance(self.module, Frozen) else self.module, state, "trunk")
        self.freeze()
