"""Which tails can be generated, and held in place: asked when a strategy is built, before anything is learned."""

from __future__ import annotations

from torch import nn
from torch.nn.parameter import UninitializedParameter

from hypertail.errors import ConfigError
from hypertail.nets.channels import NORMS
from hypertail.nets.classifier import inside_attention, parameter_at


def check_tail(tail: nn.Module, *, curvature: bool = False, second_order: bool = False) -> None:
    """Refuse a tail with a parameter that could not be generated, or not be weighed by curvature.

    Any parameter can be generated but one that two modules share, a lazy one, and a scale or shift of normalisation
    that has an entry for each position. The curvature-weighed penalty knows the weights of `nn.Linear` and of
    `nn.Conv2d` without groups, and scalars and vectors of any module, which need no penalty.

    Args:
        tail: features -> logits.
        curvature: whether the penalty is weighed by `Curvature`.
        second_order: whether look-ahead differentiates the tail twice, which fused attention cannot.

    Raises:
        ConfigError: naming the parameter and its layer.
    """
    owners: dict[int, str] = {}
    for path, layer in tail.named_modules():
        for own, parameter in layer.named_parameters(recurse=False, remove_duplicate=False):
            name = parameter_at(path, own)
            if id(parameter) in owners:
                raise _refusal(
                    name,
                    layer,
                    "a parameter of one module alone",
                    f"the same parameter as '{owners[id(parameter)]}'",
                    "Use one module in both places, or give each its own parameter.",
                )
            owners[id(parameter)] = name
            _check_generated(name, layer, parameter)
            if curvature and parameter.dim() > 1:
                _check_weighed(name, layer, inside=inside_attention(tail, name))
            if second_order and inside_attention(tail, name):
                raise _refusal(
                    name,
                    layer,
                    "layers that can be differentiated twice, for second-order look-ahead",
                    "a part of nn.MultiheadAttention",
                    "Use first-order look-ahead (lookahead='first'), or put the layer into the trunk.",
                )


def _check_generated(name: str, layer: nn.Module, parameter: nn.Parameter) -> None:
    if isinstance(parameter, UninitializedParameter):
        raise _refusal(
            name, layer, "a shape that is known", "a lazy parameter", "Run the model on one batch before it is cut."
        )
    if isinstance(layer, NORMS) and parameter.dim() > 1:
        raise _refusal(
            name,
            layer,
            "normalisation with one scale and shift for each channel",
            f"a scale of shape {tuple(parameter.shape)}",
            "Normalise over the channels alone, or put the layer into the trunk.",
        )


def _check_weighed(name: str, layer: nn.Module, *, inside: bool) -> None:
    own = name.rpartition(".")[2]
    if own == "weight" and isinstance(layer, nn.Linear) and not inside:
        return
    if own == "weight" and isinstance(layer, nn.Conv2d) and layer.groups == 1:
        return
    kind = f"groups={layer.groups}" if isinstance(layer, nn.Conv2d) else f"a parameter of {type(layer).__name__}"
    raise _refusal(
        name,
        layer,
        "weights of nn.Conv2d with groups=1 or of nn.Linear (and scales, shifts and other vectors of any layer)",
        "a part of nn.MultiheadAttention" if inside else kind,
        "Put the layer into the trunk (cut later), or do without the curvature-weighed penalty (curvature=None).",
    )


def _refusal(name: str, layer: nn.Module, required: str, found: str, hint: str) -> ConfigError:
    return ConfigError(f"tail parameter '{name}' of {type(layer).__name__}", required=required, found=found, hint=hint)
