"""Kronecker-factored curvature of the logits of learned tasks, for each generated layer.

The penalty of Eq. 7 charges every change of a weight alike. To first order the logits of task j change by the sum
over layers and positions of g^T D a, where D is the change of the filter, a the layer's input there and g the
derivative of a logit by the layer's output; averaged over data and taken as independent (the Kronecker factors of
K-FAC; Martens & Grosse, 2015, https://arxiv.org/abs/1503.05671) the expected square is trace(G D A D^T). Neighbouring
kernel positions of a convolution see nearly the same, so that their changes add up or cancel: over pairs of positions
the square is S_st trace(G D_s A D_t^T). Charging that instead leaves directions free that change no logit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from hypertail.hyper.partial import PartialHypernetwork
from hypertail.nets.channels import channel_axis
from hypertail.nets.tensors import BufferDict


class Curvature(nn.Module):
    """Kronecker factors of every generated matrix, averaged over the tasks learned so far.

    Args:
        damping: added to the diagonal of every factor by `damped`, as a share of its mean, so that no direction is
            wholly free: the factors hold near the weights they were taken at.

    Attributes:
        inputs: parameter name -> A (in, in), second moments of the layer's input channels.
        positions: parameter name -> S (k·k, k·k), of a convolution: correlation of what its kernel positions see, mean
            diagonal 1.
        outputs: parameter name -> G (out, out), second moments of logit derivatives by the layer's outputs.
        averaged: how many tasks were averaged.
    """

    averaged: Tensor

    def __init__(self, damping: float = 0.1) -> None:
        super().__init__()
        self.damping = damping
        self.inputs, self.outputs, self.positions = BufferDict(), BufferDict(), BufferDict()
        self.register_buffer("averaged", torch.tensor(0))

    @property
    def tasks(self) -> int:
        """How many tasks were averaged."""
        return int(self.averaged)

    def update(
        self,
        net: PartialHypernetwork,
        task: int,
        features: Float[Tensor, "n ..."],
        generator: torch.Generator,
        *,
        chunk: int = 250,
    ) -> None:
        """Average in the factors of a task just learned.

        Args:
            net: holds the task's weights and statistics.
            task: the task.
            features: its training features.
            generator: draws the random logit directions that estimate G.
            chunk: features that are differentiated together.
        """
        net.tail.eval()
        with torch.no_grad():
            weights = net.weights(task)
        sums_in: dict[str, Tensor] = {}
        sums_out: dict[str, Tensor] = {}
        sums_positions: dict[str, Tensor] = {}
        for part in features.split(chunk):
            with _Recorder(net.tail) as seen:
                logits = net.logits(
                    {name: weight.detach().requires_grad_() for name, weight in weights.items()}, part, task
                )
            names = [name for name in seen.outputs if name in net.hyper.separable_heads()]
            direction = torch.randn(logits.shape, generator=generator).to(logits)
            outputs = [output for name in names for output in seen.outputs[name]]
            # a layer beside the way to the logits is given zeros
            gradients = iter(torch.autograd.grad(logits, outputs, direction, materialize_grads=True))
            for name in names:
                layer = net.tail.get_submodule(name.rpartition(".")[0])
                axis = channel_axis(layer)
                a = _rows(seen.inputs[name], axis)
                g = _rows([next(gradients) for _ in seen.outputs[name]], axis)
                sums_in[name] = sums_in.get(name, 0) + a.T @ a * (len(part) / len(a))
                if isinstance(layer, nn.Conv2d) and _pads_with_zeros(layer):
                    for seen_there in seen.inputs[name]:
                        sums_positions[name] = sums_positions.get(name, 0) + _positions(layer, seen_there)
                if name != net.hyper.classifier:  # its outputs are the logits themselves
                    positions = len(g) / len(part)
                    sums_out[name] = sums_out.get(name, 0) + g.T @ g * positions
        before = self.tasks
        self.averaged += 1
        for factors, sums in ((self.inputs, sums_in), (self.outputs, sums_out), (self.positions, sums_positions)):
            for name, value in sums.items():
                # the tiniest number for a dead layer, which sees nothing but zeros
                tiny = torch.finfo(value.dtype).tiny
                mean = value / (value.diagonal().mean().clamp_min(tiny) if factors is self.positions else len(features))
                factors[name] = mean if name not in factors else (factors[name] * before + mean) / (before + 1)

    def damped(self, factors: BufferDict) -> dict[str, Tensor]:
        """`inputs`, `outputs` or `positions` with the damping added."""
        result = {}
        for name, factor in factors.items():
            share = self.damping * factor.diagonal().mean()
            result[name] = factor + share * torch.eye(len(factor), device=factor.device, dtype=factor.dtype)
        return result

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        # names of earlier versions
        for earlier, now in (("inputs:", "inputs."), ("outputs:", "outputs."), ("taps:", "positions.")):
            for name in [name for name in state_dict if name.startswith(prefix + earlier)]:
                state_dict[prefix + now + name.removeprefix(prefix + earlier)] = state_dict.pop(name)
        if f"{prefix}tasks" in state_dict:
            state_dict[f"{prefix}averaged"] = state_dict.pop(f"{prefix}tasks")
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _rows(calls: list[Tensor], axis: int) -> Tensor:
    """(n, channels, h, w), (n, tokens, channels) or (n, channels) of every call of a layer -> one row per position."""
    rows = [values.detach().movedim(axis, -1).flatten(0, -2) for values in calls]
    return rows[0] if len(rows) == 1 else torch.cat(rows)


def _pads_with_zeros(layer: nn.Conv2d) -> bool:
    return not isinstance(layer.padding, str) and layer.padding_mode == "zeros"


def _positions(layer: nn.Conv2d, inputs: Tensor) -> Tensor:
    """Second moments (k·k, k·k) of what kernel positions see, summed over images, channels and output positions."""
    seen = F.unfold(inputs.detach(), layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # type: ignore[arg-type]
    size = layer.kernel_size[0] * layer.kernel_size[1]
    seen = seen.unflatten(1, (-1, size)).transpose(1, 2).transpose(0, 1).flatten(1)
    moments: Tensor = seen @ seen.T
    return moments


class _Recorder:
    """Records inputs and outputs of each call of convolutions and linear layers while it is entered."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.inputs: dict[str, list[Tensor]] = {}
        self.outputs: dict[str, list[Tensor]] = {}

    def __enter__(self) -> _Recorder:
        layers = [(n, m) for n, m in self.module.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        self._handles = [layer.register_forward_hook(self._hook(f"{name}.weight")) for name, layer in layers]
        return self

    def _hook(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            self.inputs.setdefault(name, []).append(inputs[0])
            self.outputs.setdefault(name, []).append(output)
            # what follows may work in place; the recorded output must stay what the layer returned
            return output.clone()

        return record

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()
