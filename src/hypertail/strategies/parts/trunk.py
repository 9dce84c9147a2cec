"""The trunk of a strategy: learned with the first experience or given, then frozen."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hypertail.errors import check_choice
from hypertail.nets.cut import stage_named
from hypertail.nets.frozen import Frozen, Wrapper
from hypertail.nets.mode import in_mode

TrunkStatistics = Literal["fixed", "batch"]


class Trunk(Wrapper):
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
        super().__init__(module)
        self.statistics = statistics
        self.learning = learns and any(True for _ in module.parameters())
        self.eval()
        if not self.learning:
            self.freeze()

    def freeze(self) -> None:
        """Stop learning, for good."""
        self.learning = False
        self.module.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Trunk:
        """Training mode while the trunk learns, else evaluation mode whatever is asked."""
        super().train(mode and self.learning)
        return self

    @property
    def cacheable(self) -> nn.Module | None:
        """The module, if its features are functions of single images from now on."""
        return self._frozen if not self.learning and self.statistics == "fixed" else None

    @cached_property
    def _frozen(self) -> Frozen:
        # always the same object, by which the engine knows its features; torch sees its parameters in `module`
        return Frozen(self.module)

    def forward(self, images: Tensor) -> Tensor:
        """Features of images, by the running statistics in evaluation mode."""
        with torch.set_grad_enabled(self.learning and torch.is_grad_enabled()):
            return self.module(images)  # type: ignore[no-any-return]

    def features(self, inputs: Tensor, *, training: bool) -> Tensor:
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

    def all_features(self, inputs: Tensor, chunk: int = 250) -> Tensor:
        """Features of many inputs, for keeping."""
        if self.cacheable is not None:
            return inputs
        with torch.no_grad():
            return torch.cat([self.features(part, training=False) for part in inputs.split(chunk)])

    def group(self) -> dict[str, nn.Parameter]:
        """The parameters that learn now, as `trunk.name`."""
        return {f"trunk.{name}": p for name, p in self.module.named_parameters()} if self.learning else {}

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self.freeze()  # what is saved has learned
