"""What tasks of method `hypernet` share, as a file keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hypertail.hyper.generated import shared_hypernetwork, shared_parameters
from hypertail.hyper.hypernetwork import Hypernetwork
from hypertail.seeds import seeded

HYPERNET = "hypernet"
"""Name of the shared file of what tasks of that method share."""


def hypernetwork_of(
    body: nn.Module, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], device: str
) -> Hypernetwork:
    """The hypernetwork that a file keeps, fixed.

    Args:
        body: of the backbone.
        tensors, facts: of the file.
        device: where it computes.
    """
    sizes = {name: int(facts[name]) for name in ("embedding", "rank")}
    with seeded(0, "shapes"):
        hyper = shared_hypernetwork(body, **sizes).to(device)
    with torch.no_grad():
        for name, parameter in shared_parameters(hyper).items():
            parameter.copy_(tensors[name])
    return hyper.requires_grad_(False)
