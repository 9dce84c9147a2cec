"""Batch normalisation with fixed statistics, folded into the convolution before it."""

from __future__ import annotations

import copy

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from hypertail.nets.frozen import Frozen
from hypertail.nets.resnet import BasicBlock


def folded(module: nn.Module) -> nn.Module:
    """A module that computes the same as a frozen one, up to rounding, in fewer passes over memory.

    `norm(conv(x))` becomes one convolution wherever it is certain that nothing else reads what the convolution gives:
    in an `nn.Sequential` and in a `BasicBlock`, also within each other. All else is shared with `module`: other
    modules, and normalisation that takes its statistics from the batch.

    Args:
        module: in evaluation mode; left as it is.
    """
    # exact types: a subclass may use its children in another way
    if type(module) is Frozen:
        return Frozen(folded(module.module))
    if type(module) is nn.Sequential:
        return _folded_stages(module)
    if type(module) is BasicBlock:
        block = copy.deepcopy(module)
        for conv, norm in (("conv1", "norm1"), ("conv2", "norm2")):
            if (merged := _merged(getattr(block, conv), getattr(block, norm))) is not None:
                setattr(block, conv, merged)
                setattr(block, norm, nn.Identity())
        block.shortcut = _folded_stages(block.shortcut)
        return block
    return module


def _folded_stages(module: nn.Sequential) -> nn.Sequential:
    stages: list[nn.Module] = []
    for stage in module:
        merged = _merged(stages[-1], stage) if stages else None
        if merged is None:
            stages.append(folded(stage))
        else:
            stages[-1] = merged
    return nn.Sequential(*stages)


def _merged(conv: nn.Module, norm: nn.Module) -> nn.Module | None:
    """Both as one convolution; None where they are not a convolution and its fixed normalisation."""
    if type(conv) is not nn.Conv2d or type(norm) is not nn.BatchNorm2d:
        return None
    fixed = not conv.training and not norm.training and norm.running_mean is not None
    return fuse_conv_bn_eval(conv, norm) if fixed else None
