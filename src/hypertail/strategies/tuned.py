"""A partial hypernetwork with the values that were measured (the preset `tuned`), for any tail, in one call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn

from hypertail.errors import check_choice
from hypertail.hyper import Curvature, Hypernetwork, OutputPenalty
from hypertail.seeds import seeded
from hypertail.strategies.partial_hypernet import PartialHypernet
from hypertail.strategies.parts.optimisation import Optimisation
from hypertail.strategies.parts.pace import Pace
from hypertail.strategies.parts.trunk import Trunk

ClassifierOf = Literal["generated", "own"]
TailStart = Literal["pretrained", "fresh"]

FEW_MATRICES = 5
"""Generated matrices beside the classifier, up to which adapters of a higher rank pay: one block of a ResNet."""


@dataclass(frozen=True)
class TailDefaults:
    """What suits a tail, by what it generates.

    Attributes:
        hyper_lr: learning rate of the hypernetwork.
        classifier: whether the classifier weight is `generated` or each task's `own`.
        penalty_weight: lambda of the weight-space penalty.
        damping: of the curvature, see `Curvature`.
        adapter_rank: of what a task adds to each generated matrix but the classifier.
        classifier_rank: of what a task adds to the classifier.
        reference_steps: see `Pace`.
    """

    hyper_lr: float
    classifier: ClassifierOf
    penalty_weight: float
    damping: float
    adapter_rank: int
    classifier_rank: int
    reference_steps: int


def tail_defaults(tail: nn.Module, *, pretrained: bool = False) -> TailDefaults:
    """The measured values for a tail: one that is a classifier alone, one block and a classifier, or more.

    Args:
        tail: features -> logits.
        pretrained: what is generated is added to its weights, so that a tenth of the learning rate serves.
    """
    matrices = sum(parameter.dim() >= 2 for parameter in tail.parameters()) - 1
    if matrices < 1:
        return TailDefaults(3e-3, "generated", 0.03, 0.3, adapter_rank=8, classifier_rank=2, reference_steps=1)
    rank = 16 if matrices <= FEW_MATRICES else 8
    if pretrained:
        return TailDefaults(3e-4, "own", 0.0015, 0.03, adapter_rank=rank, classifier_rank=0, reference_steps=400)
    return TailDefaults(3e-3, "generated", 0.0015, 0.03, adapter_rank=rank, classifier_rank=0, reference_steps=400)


def tuned_hypernet(
    trunk: Trunk | nn.Module,
    tail: nn.Module,
    *,
    tasks: int = 1,
    seed: int = 0,
    tail_start: TailStart = "fresh",
) -> PartialHypernet:
    """A strategy that generates `tail` for each task, with the values of the preset `tuned`.

    Args:
        trunk: images -> features: a module, which is frozen, or a `Trunk` that learns with the first task. A trunk
            trained alone (`train_trunk`) or elsewhere is better by some points.
        tail: features -> logits, with as many outputs as the largest task has classes.
        tasks: for so many there is room from the start; more may come.
        seed: of initialisation, fresh embeddings and all else that is random.
        tail_start: `pretrained`: what is generated is added to the weights that `tail` has, which `train_trunk` or
            another training gave it; the classifier, each task's own, begins anew. `fresh`: they mean nothing.

    Raises:
        ConfigError: an unknown start, or the tail has a parameter that cannot be generated (see `check_tail`).

    Example:
        >>> from hypertail.nets import decompose, slim_resnet18
        >>> strategy = tuned_hypernet(*decompose(slim_resnet18(classes=5), depth=4), tasks=20)
        >>> sum(parameter.numel() for parameter in strategy.hyper.parameters())
        37062
    """
    check_choice("start of the tail", tail_start, get_args(TailStart))
    adds = tail_start == "pretrained"
    usual = tail_defaults(tail, pretrained=adds)
    with seeded(seed, "hypernetwork"):
        hyper = Hypernetwork.for_tail(
            tail,
            tasks,
            base=dict(tail.named_parameters()) if adds else {},
            adapter_rank=usual.adapter_rank,
            classifier_rank=usual.classifier_rank,
            own_classifier=usual.classifier == "own",
        )
    return PartialHypernet(
        trunk if isinstance(trunk, Trunk) else Trunk(trunk, learns=False),
        tail,
        hyper.to(next(tail.parameters()).device),
        Optimisation(usual.hyper_lr, rates={"trunk": 1e-3, "task": 1e-2}),
        penalty_weight=usual.penalty_weight,
        pace=Pace(usual.reference_steps),
        output=OutputPenalty(0.3, tasks=1, share=0.25),
        curvature=Curvature(usual.damping),
        seed=seed,
    )
