"""The switches of the method (the fidelity ledger) and the presets `tuned`, `printed` and `released`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from hypertail.hyper import LookAhead
from hypertail.hyper.heads import CodeName, Vectors
from hypertail.hyper.hypernetwork import Initialisation, NewEmbedding
from hypertail.hyper.lookahead import Combine
from hypertail.hyper.penalty import Reduction
from hypertail.nets.resnet import Norm
from hypertail.strategies.partial_hypernet import ChannelVectors, PenaltyForm, VirtualStepName
from hypertail.strategies.parts.buffer import BufferPolicy
from hypertail.strategies.parts.optimisation import OptimizerState, Schedule
from hypertail.strategies.parts.trunk import TrunkStatistics

T = TypeVar("T")
TrunkTraining = Literal["alone", "with-tail"]


BY_DEPTH: Mapping[str, Mapping[int | None, Any]] = {
    "penalty_weight": {4: 0.03, None: 0.0015},
    "damping": {4: 0.3, None: 0.03},
    "adapter_rank": {3: 16, None: 8},
    "classifier_rank": {4: 2, None: 0},
    "reference_steps": {4: 1, None: 400},
}
"""Switch -> what leaving it open (None) stands for at a depth, and at all others (None)."""


@dataclass(frozen=True)
class Method:
    """Every switch of the method; the defaults are the preset `tuned`."""

    lr: float = 1e-3
    """Learning rate of Adam (alpha in Eq. 5)."""
    hyper_lr: float | None = 3e-3
    """Learning rate of the hypernetwork (beta in Eq. 6); None: the same."""
    task_lr: float | None = 1e-2
    """Learning rate of what belongs to one task alone, tables and adapters; None: that of the hypernetwork."""
    classifier_lr: float | None = 1e-2
    """Learning rate where latent replay or separate learn a classifier alone (depth 4); None: the same."""
    schedule: Schedule = "cosine"
    """Learning rate within each experience: constant, or cosine to zero."""
    optimizer_state: OptimizerState = "fresh"
    """Adam moments at a new experience: fresh, or kept (old momentum then keeps moving shared weights)."""
    trunk_training: TrunkTraining = "alone"
    """e_1 trains the trunk alone, in a plain model, or with-tail, as in Algorithm 1."""
    trunk_epochs: int | None = 30
    """Epochs of e_1 for the trunk (naive, EWC: for the whole model); None: as many as for the others."""
    trunk_rotations: bool = True
    """A trunk trained alone learns each class at four orientations, each a label of its own, in twice the epochs."""
    trunk_statistics: TrunkStatistics = "fixed"
    """Normalisation statistics of the frozen trunk: fixed, or those of each batch."""
    standardise: bool = True
    """Standardise the features at the cut, per channel, with statistics of e_1 (needs trunk-training alone)."""
    norm: Norm = "batch"
    """Normalisation in a generated tail: batch (statistics kept per task), or instance (no statistics)."""
    head_width: int | None = None
    """Outputs generated per task; None: the largest number of classes of a task in the stream."""
    embedding: int = 32
    """Size of the task embedding."""
    mlp: tuple[int, int] = (50, 32)
    """Sizes of the hypernetwork's two hidden layers."""
    rank: int = 36
    """Size d of the vector of each output channel in channel-wise heads."""
    code: CodeName = "additive"
    """How channel-wise heads join task and channel: additive (as published) or product."""
    vectors: Vectors = "orthogonal"
    """The vectors e_r of channel-wise heads start as orthogonal columns, or gaussian from N(0, 1)."""
    channel_vectors: ChannelVectors = "fixed"
    """The vectors e_r of channel-wise heads: learned throughout, or fixed after e_1."""
    adapter_rank: int | None = None
    """Rank of what each task adds to channel-wise heads for itself (0: nothing); None: 16 at depth 3, else 8."""
    classifier_rank: int | None = None
    """Rank of what each task adds to the classifier for itself (0: nothing); None: 2 at depth 4, else 0."""
    init: Initialisation = "he"
    """Initial scale of generated weights: he (variance 2 / fan-in) or library (torch's defaults)."""
    new_embedding: NewEmbedding = "fresh"
    """Embedding of a new task: fresh from N(0, 1), or copied from the previous task."""
    penalty_weight: float | None = None
    """Lambda of the weight-space penalty; None: 0.03 at depth 4, else 0.0015."""
    reference_steps: int | None = None
    """Steps a task for which --hyper-lr and --penalty-weight are meant. With fewer, what tasks share learns slower and
    is held more firmly, and tails compute their statistics anew (also those of separate). 1: never. None: 400, and 1 at
    depth 4."""
    reduction: Reduction = "sum"
    """The penalty is a sum or a mean over earlier tasks."""
    penalty_form: PenaltyForm = "closed"
    """closed: flat in the number of tasks; direct: regenerates every earlier task at each step."""
    lookahead: LookAhead = "none"
    """No, first- or second-order look-ahead."""
    virtual_step: VirtualStepName = "optimizer"
    """The virtual step of the look-ahead: sgd at the learning rate, or the step the real optimizer would take."""
    combine: Combine = "mean"
    """The two gradients are joined by their mean or their sum."""
    curvature: bool = True
    """Weigh the penalty by what the logits of earlier tasks feel (Kronecker factors), not all weights alike."""
    damping: float | None = None
    """Share of its mean that is added to the diagonal of every curvature factor; None: 0.3 at depth 4, else 0.03."""
    output_weight: float = 0.3
    """Weight of the output-space term on earlier tasks (0: none)."""
    output_tasks: int = 1
    """Earlier tasks drawn at each step for the output-space term."""
    output_share: float = 0.25
    """Part of the batch that the output-space term uses."""
    per_sample: bool = False
    """Generate one weight set for every sample, as the authors' code does (needs norm instance)."""
    record_cosine: bool = False
    """Keep the cosine between the two gradients at every step (Figure 12)."""
    buffer: int | None = None
    """Exemplars of latent replay; None: 2 per class of the stream (200 on CIFAR-100, 400 on Tiny ImageNet)."""
    buffer_policy: BufferPolicy = "class-balanced"
    """How the buffer chooses exemplars."""
    replay_batch: int = 64
    """Exemplars replayed at each step."""
    replay_coefficient: float = 1.0
    """Coefficient c of the replay loss."""
    ewc_weight: float = 1e4
    """Lambda of EWC."""
    fisher_samples: int = 256
    """At most so many images estimate the Fisher diagonal of a task."""

    def at(self, depth: int | None) -> Method:
        """The same with what depends on the depth filled in."""
        left_open = {name: own for name, own in BY_DEPTH.items() if getattr(self, name) is None}
        return replace(self, **{name: own.get(depth, own[None]) for name, own in left_open.items()})


def settled(value: T | None) -> T:
    """A value that depends on the depth, after `Method.at`."""
    assert value is not None, "Method.at(depth) first"
    return value
