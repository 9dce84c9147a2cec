"""Adam with a learning-rate schedule within each experience."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

from hypertail.errors import ConfigError, check_choice
from hypertail.nets.tensors import BufferDict

Schedule = Literal["constant", "cosine"]
OptimizerState = Literal["fresh", "kept"]
Groups = Mapping[str, Mapping[str, Tensor]]
"""Name of a group -> name -> parameter. Names of parameters differ between groups too."""


@dataclass(frozen=True)
class Optimisation:
    """How parameters are learned in each experience: by Adam, at which rates.

    Args:
        lr: learning rate at the start of an experience.
        schedule: `constant`, or `cosine` to zero within each experience.
        state: `fresh` Adam moments for each experience, or moments `kept` across experiences (old momentum then keeps
            moving shared weights).
        rates: learning rates of groups of parameters: `trunk` for a trunk that learns along (alpha of Eq. 5, where `lr`
            is beta of Eq. 6), `task` for what a hypernetwork keeps for each task alone. Other groups learn at `lr`.

    Raises:
        ConfigError: an unknown schedule or state, or a learning rate that is not above 0.
    """

    lr: float = 1e-3
    schedule: Schedule = "cosine"
    state: OptimizerState = "fresh"
    rates: Mapping[str, float] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        check_choice("learning-rate schedule", self.schedule, get_args(Schedule))
        check_choice("optimizer state", self.state, get_args(OptimizerState))
        for value in (self.lr, *self.rates.values()):
            if not value > 0:
                raise ConfigError(
                    "learning rate", required="a number above 0", found=str(value), hint="The default is 0.001."
                )

    @property
    def keeps(self) -> bool:
        """Whether moments are kept across experiences."""
        return self.state == "kept"

    def begin(
        self, groups: Groups, steps: int, moments: BufferDict, factor: float = 1.0, own: Collection[str] = ()
    ) -> Descent:
        """Start an experience.

        Args:
            groups: the parameters that learn; a group may be empty.
            steps: how many steps it will take.
            moments: of earlier experiences, if they are kept; those of this one go there when it ends.
            factor: multiplies `lr`, but not `rates`.
            own: names of parameters that learn in no later experience, so that their moments are never kept.

        Raises:
            ConfigError: a rate of a group that is not there.
        """
        for name in self.rates:
            check_choice("group of parameters with a learning rate", name, groups)
        return Descent(self, groups, steps, moments, factor, own)

    def decay(self, taken: int, steps: int) -> float:
        """Factor of all learning rates after `taken` of `steps` steps."""
        return 0.5 * (1 + math.cos(math.pi * min(1.0, taken / steps))) if self.schedule == "cosine" else 1.0


class Descent:
    """The steps of one experience. Made by `Optimisation.begin`.

    Attributes:
        leaves: the parameters that learn, by name.
        own: names of those that learn in no later experience.
        adam: steps along their gradients.
        taken: steps taken so far.
    """

    def __init__(
        self,
        optimisation: Optimisation,
        groups: Groups,
        steps: int,
        moments: BufferDict,
        factor: float,
        own: Collection[str],
    ) -> None:
        self.optimisation, self.steps, self.moments, self.taken = optimisation, max(1, steps), moments, 0
        self.own = frozenset(own)
        self.leaves = {name: leaf for group in groups.values() for name, leaf in group.items()}
        usual = optimisation.lr * factor
        of_rate: dict[float, list[Tensor]] = {usual: []}
        for group, leaves in groups.items():
            if leaves:
                of_rate.setdefault(optimisation.rates.get(group, usual), []).extend(leaves.values())
        self.rates = list(of_rate)
        fused = next(iter(self.leaves.values())).device.type == "cpu"
        self.adam = torch.optim.Adam(
            [{"params": leaves} for leaves in of_rate.values()], lr=optimisation.lr, fused=fused
        )
        self._set_rates()
        if optimisation.keeps:
            self._take_moments()

    def step(self, gradients: Mapping[str, Tensor]) -> None:
        """Take one step along `gradients`."""
        for name, leaf in self.leaves.items():
            gradient = gradients.get(name)
            leaf.grad = None if gradient is None else _laid_out_like(gradient, leaf)
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        self.taken += 1
        self._set_rates()

    def descend(self, loss: Tensor) -> None:
        """Take one step down the gradient of `loss`; parameters it does not reach stay."""
        leaves = list(self.leaves.values())
        with torch.autocast(loss.device.type, enabled=False):  # autocast applies to the forward pass only
            gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
        self.step({name: g for name, g in zip(self.leaves, gradients, strict=True) if g is not None})

    def end(self) -> None:
        """Conclude the experience: moments are dropped, or set aside if they are kept."""
        for name, leaf in self.leaves.items():
            if not self.optimisation.keeps or name in self.own:
                continue
            for key, value in self.adam.state.get(leaf, {}).items():
                self.moments[f"{name}:{key}"] = value.detach()

    def state(self) -> dict[str, Tensor]:
        """Steps taken, and the moments of each parameter."""
        tensors = {"taken": torch.tensor(self.taken)}
        for name, leaf in self.leaves.items():
            tensors |= {f"{name}:{key}": value for key, value in self.adam.state.get(leaf, {}).items()}
        return tensors

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on after the steps of another descent of the same parameters."""
        self.taken = int(state["taken"])
        for name, moments in _by_parameter(state).items():
            if name in self.leaves:
                leaf = self.leaves[name]
                self.adam.state[leaf] = {key: _placed_like(value, leaf) for key, value in moments.items()}
        self._set_rates()

    def _set_rates(self) -> None:
        decay = self.optimisation.decay(self.taken, self.steps)
        for group, rate in zip(self.adam.param_groups, self.rates, strict=True):
            group["lr"] = rate * decay

    def _take_moments(self) -> None:
        of_leaf = _by_parameter(self.moments)
        for name, leaf in self.leaves.items():
            moments = of_leaf.get(name)
            if moments is not None and moments["exp_avg"].shape == leaf.shape:
                self.adam.state[leaf] = {key: _placed_like(value, leaf) for key, value in moments.items()}


def _by_parameter(joined: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """`parameter:key` -> moment, as parameter -> key -> moment."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, value in joined.items():
        parameter, colon, key = name.rpartition(":")
        if colon:
            found.setdefault(parameter, {})[key] = value
    return found


def _placed_like(value: Tensor, leaf: Tensor) -> Tensor:
    """A copy of a moment, on the device and of the type and layout of its parameter; a count of steps as it is."""
    return _laid_out_like(value.to(leaf) if value.shape == leaf.shape else value, leaf).clone()


def _laid_out_like(value: Tensor, leaf: Tensor) -> Tensor:
    # the fused CPU Adam walks parameter, gradient and moments as flat memory, so that their strides must agree
    if value.shape != leaf.shape or value.stride() == leaf.stride():
        return value
    return torch.empty_like(leaf).copy_(value)
