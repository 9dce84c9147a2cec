"""Adam with a learning-rate schedule within each experience."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor

from hypertail.errors import ConfigError, check_choice

Schedule = Literal["constant", "cosine"]
OptimizerState = Literal["fresh", "kept"]


class Optimisation:
    """Adam over named parameters, told when an experience begins.

    Args:
        lr: learning rate at the start of an experience.
        schedule: `constant`, or `cosine` to zero within each experience.
        state: `fresh` Adam moments for each experience, or moments `kept` across experiences (old momentum then keeps
            moving shared weights).
        rates: learning rates of parts, by the first component of their parameters' names: `trunk` for a trunk that
            learns along (alpha of Eq. 5, where `lr` is beta of Eq. 6), `tables` and `adapters` for what the
            hypernetwork keeps for each task alone. Parts without one learn at `lr`.

    Raises:
        ConfigError: an unknown schedule or state, or a learning rate that is not above 0.
    """

    def __init__(
        self,
        lr: float = 1e-3,
        schedule: Schedule = "cosine",
        state: OptimizerState = "fresh",
        *,
        rates: Mapping[str, float] | None = None,
    ) -> None:
        check_choice("learning-rate schedule", schedule, get_args(Schedule))
        check_choice("optimizer state", state, get_args(OptimizerState))
        self.rates = dict(rates or {})
        for value in (lr, *self.rates.values()):
            if not value > 0:
                raise ConfigError(
                    "learning rate", required="a number above 0", found=str(value), hint="The default is 0.001."
                )
        self.lr, self.schedule, self.keeps = lr, schedule, state == "kept"
        self.adam: torch.optim.Adam | None = None
        self.leaves: dict[str, Tensor] = {}
        self._kept: dict[str, dict[str, Tensor]] = {}
        self._base: list[float] = []
        self._steps, self._taken = 1, 0

    def begin(self, parameters: Mapping[str, Tensor], steps: int, factor: float = 1.0) -> None:
        """Start an experience of `steps` steps over `parameters`; `factor` multiplies `lr`, but not `rates`."""
        self._remember()
        self.leaves = dict(parameters)
        shared = self.lr * factor
        groups: dict[float, list[Tensor]] = {shared: []}
        for name, leaf in self.leaves.items():
            groups.setdefault(self.rates.get(name.partition(".")[0], shared), []).append(leaf)
        self._base = list(groups)
        fused = next(iter(self.leaves.values())).device.type == "cpu"
        self.adam = torch.optim.Adam([{"params": leaves} for leaves in groups.values()], lr=self.lr, fused=fused)
        self._steps, self._taken = max(1, steps), 0
        self._set_rates()
        if self.keeps:
            for name, leaf in self.leaves.items():
                moments = self._kept.get(name)
                if moments is not None and moments["exp_avg"].shape == leaf.shape:
                    self.adam.state[leaf] = {key: _like(value, leaf).clone() for key, value in moments.items()}

    def _set_rates(self) -> None:
        assert self.adam is not None
        factor = 1.0
        if self.schedule == "cosine":
            factor = 0.5 * (1 + math.cos(math.pi * min(1.0, self._taken / self._steps)))
        for group, lr in zip(self.adam.param_groups, self._base, strict=True):
            group["lr"] = lr * factor

    def step(self, gradients: Mapping[str, Tensor]) -> None:
        """Take one step along `gradients`."""
        assert self.adam is not None
        for name, leaf in self.leaves.items():
            gradient = gradients.get(name)
            leaf.grad = None if gradient is None else _like(gradient, leaf)
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        self._taken += 1
        self._set_rates()

    def descend(self, loss: Tensor) -> None:
        """Take one step down the gradient of `loss`; parameters it does not reach stay."""
        leaves = list(self.leaves.values())
        # mixed precision is for forward passes: backward passes repeat the precision of each operation by themselves
        with torch.autocast(loss.device.type, enabled=False):
            gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
        self.step({name: g for name, g in zip(self.leaves, gradients, strict=True) if g is not None})

    def end(self) -> None:
        """Conclude an experience: moments are dropped, or set aside if they are kept."""
        self._remember()
        self.adam, self.leaves = None, {}

    def _remember(self) -> None:
        if self.keeps and self.adam is not None:
            for name, leaf in self.leaves.items():
                if leaf in self.adam.state:
                    self._kept[name] = {key: value.detach() for key, value in self.adam.state[leaf].items()}

    def state(self) -> dict[str, Tensor]:
        """The kept moments, as `parameter:moment` (empty unless state is `kept`)."""
        return {f"{name}:{key}": value for name, moments in self._kept.items() for key, value in moments.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        self._kept = {}
        for joined, value in state.items():
            name, _, key = joined.rpartition(":")
            self._kept.setdefault(name, {})[key] = value


def _like(value: Tensor, leaf: Tensor) -> Tensor:
    # the fused CPU Adam walks parameter, gradient and moments as flat memory, so that their strides must agree
    if value.shape != leaf.shape or value.stride() == leaf.stride():
        return value
    return torch.empty_like(leaf).copy_(value)
