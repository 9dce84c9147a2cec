"""Probabilities that mean what they say: one temperature for the logits of a task."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

COLDEST, HOTTEST, TRIED = 0.05, 20.0, 121


def temperature_of(logits: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]) -> float:
    """The T for which softmax(logits / T) is likeliest on held-out data (Guo et al., 2017,
    https://arxiv.org/abs/1706.04599, section 4.2); 1 where there is none.

    It lies on a grid of factors, so that small differences of logits hardly change it, and is at least 1 where there
    are fewer than 20 examples, which say too little about certainty.
    """
    if not len(labels):
        return 1.0
    tried = torch.logspace(_log(COLDEST), _log(HOTTEST), TRIED, dtype=torch.float64)
    losses = torch.stack([F.cross_entropy(logits.double() / value, labels) for value in tried])
    best = float(tried[int(losses.argmin())])
    return best if len(labels) >= 20 else max(1.0, best)


def _log(value: float) -> float:
    return float(torch.tensor(value, dtype=torch.float64).log10())
