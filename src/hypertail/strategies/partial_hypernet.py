"""Partial (and full) hypernetwork at depth k: Algorithm 1 of the paper and its variants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Literal, cast, get_args

import torch
from torch import Tensor, nn

from hypertail.errors import CheckpointError, ConfigError, check_choice
from hypertail.hyper import Curvature, Hypernetwork, LookAhead, OutputPenalty, PartialHypernetwork, check_tail
from hypertail.hyper.hypernetwork import NewEmbedding
from hypertail.hyper.lookahead import Combine
from hypertail.hyper.penalty import Reduction
from hypertail.hyper.roster import Roster
from hypertail.nets.mode import in_mode
from hypertail.nets.tensors import BufferDict, nbytes
from hypertail.seeds import generator
from hypertail.strategies.hypernet_lesson import FirstLesson, HypernetLesson, LaterLesson
from hypertail.strategies.parts.optimisation import Optimisation
from hypertail.strategies.parts.pace import Pace
from hypertail.strategies.parts.trunk import Trunk
from hypertail.strategies.strategy import Strategy, Task, below

VirtualStepName = Literal["sgd", "optimizer"]
PenaltyForm = Literal["closed", "direct"]
ChannelVectors = Literal["learned", "fixed"]


class PartialHypernet(Strategy):
    """A hypernetwork generates the tail of each task; a penalty keeps what it generates for earlier tasks.

    `tuned_hypernet` builds one with the values that were measured. Here, what depends on the tail has no default.

    Args:
        trunk: images -> features; empty for the full hypernetwork HN-F.
        tail: features -> logits; gives names and shapes.
        hyper: generates the parameters of `tail`.
        optimisation: optimizer and schedule.
        penalty_weight: lambda of the weight-space penalty (Eq. 7), raised by `pace` where steps are few.
        reduction: the penalty is a `sum` or a `mean` over earlier tasks.
        penalty_form: `closed` (flat in the number of tasks) or `direct` (regenerates every earlier task at each step).
        lookahead: no, first- or second-order look-ahead.
        virtual_step: the virtual step is one of `sgd` at the learning rate, or the one the real `optimizer` would take.
        combine: how the two gradients are joined: `mean` (Eq. 10) or `sum`.
        new_embedding: a new task's embedding is `fresh` from N(0, 1) or `copied` from the previous task.
        channel_vectors: the vectors e_r of the channel-wise heads are `learned` throughout, or `fixed` after e_1.
        output: output regularisation on earlier tasks, added to the penalty; None for none.
        curvature: weighs the penalty by the curvature of earlier tasks' logits; None for the plain squared distance.
        pace: slows shared parameters down where a task takes few steps. Its normalisation statistics are then computed
            anew once it is learned, since their running average is still near where it began.
        per_sample: generate one weight set for every sample of the batch, as the authors' code does.
        record_cosine: keep the cosine between the two gradients at every step (Fig. 12).
        seed: drives fresh embeddings and the tasks drawn for output regularisation.

    Raises:
        ConfigError: `per_sample` with a tail that keeps normalisation statistics, or a tail with a parameter that
            cannot be generated, not be weighed by the curvature, or not be differentiated twice (see `check_tail`).
    """

    earlier_names: ClassVar[Mapping[str, str]] = {
        "trunk.": "net.trunk.module.",
        "hyper.": "net.hyper.",
        "statistics.": "net.statistics.",
        "optimizer.": "moments.",
    }

    def __init__(
        self,
        trunk: Trunk,
        tail: nn.Module,
        hyper: Hypernetwork,
        optimisation: Optimisation,
        *,
        penalty_weight: float,
        output: OutputPenalty | None,
        curvature: Curvature | None,
        pace: Pace,
        reduction: Reduction = "sum",
        penalty_form: PenaltyForm = "closed",
        lookahead: LookAhead = "none",
        virtual_step: VirtualStepName = "optimizer",
        combine: Combine = "mean",
        new_embedding: NewEmbedding = "fresh",
        channel_vectors: ChannelVectors = "fixed",
        per_sample: bool = False,
        record_cosine: bool = False,
        seed: int = 0,
    ) -> None:
        if per_sample and any(True for _ in tail.buffers()):
            raise ConfigError(
                "one weight set per sample",
                required="a tail without normalisation statistics (norm 'instance')",
                found="a tail with batch normalisation",
                hint="Build the model with norm='instance', or generate weights once per batch.",
            )
        check_choice("virtual step", virtual_step, get_args(VirtualStepName))
        check_choice("form of the penalty", penalty_form, get_args(PenaltyForm))
        check_choice("look-ahead", lookahead, get_args(LookAhead))
        check_choice("channel vectors", channel_vectors, get_args(ChannelVectors))
        check_choice("new embedding", new_embedding, get_args(NewEmbedding))
        check_tail(tail, curvature=curvature is not None, second_order=lookahead == "second")
        super().__init__()
        self.net = PartialHypernetwork(trunk, tail, hyper)
        self.optimisation, self.moments = optimisation, BufferDict()
        self.penalty_weight, self.reduction, self.penalty_form = penalty_weight, reduction, penalty_form
        self.lookahead, self.virtual_step, self.combine = lookahead, virtual_step, combine
        self.channel_vectors, self.pace = channel_vectors, pace
        self.new_embedding, self.output, self.curvature = new_embedding, output, curvature
        self.per_sample, self.record_cosine, self.seed = per_sample, record_cosine, seed
        self.cosines: list[Tensor] = []

    @property
    def roster(self) -> Roster:
        """The tasks begun so far."""
        return self.net.roster

    @property
    def trunk(self) -> Trunk:
        """Images -> features."""
        return cast(Trunk, self.net.trunk)

    @property
    def frozen_trunk(self) -> nn.Module | None:
        """The trunk, once frozen."""
        return self.trunk.cacheable

    @property
    def hyper(self) -> Hypernetwork:
        """The hypernetwork H_psi."""
        return self.net.hyper

    def begin(self, task: Task) -> HypernetLesson:
        """Start the task's embedding and statistics, and take the snapshot H* if there are earlier tasks."""
        self.net.begin_task(task.id, task.classes, task.name)
        earlier = [other for other in self.net.classes if other != task.id]
        random = generator(self.seed, "embedding", task.id)
        self.hyper.begin_task(task.id, self.new_embedding, random, earlier[-1] if earlier else None)
        if not earlier:
            return FirstLesson(self, task)
        if self.channel_vectors == "fixed":
            self.hyper.fix_channel_vectors()
        return LaterLesson(self, task, earlier)

    def logits(self, hyper: Hypernetwork, features: Tensor, task: int) -> Tensor:
        """Logits of features under the weights that `hyper` generates for a task, in the mode that the tail is in."""
        classes = self.net.classes[task]
        if self.per_sample:
            weights = hyper.per_sample(torch.full((len(features),), task, device=features.device))
            return self.net.logits_per_sample(self.net.crop(weights, classes, dim=1), features)
        return self.net.logits(self.net.crop(hyper(task), classes), features, task)

    def prepare(self, task: int) -> Callable[[Tensor], Tensor]:
        """Generate the task's weights once, for any number of batches."""
        weights = self.net.weights(task)

        def predict(inputs: Tensor) -> Tensor:
            features = self.trunk.features(inputs, training=False)
            if not self.per_sample:
                return self.net.logits(weights, features, task, training=False)
            with in_mode(False, self.net.tail):
                return self.logits(self.hyper, features, task)

        return predict

    def predict(self, inputs: Tensor, task: int) -> Tensor:
        """Logits under the generated weights of the task."""
        return self.prepare(task)(inputs)

    def make_room(self, state: Mapping[str, Tensor]) -> None:
        """Restore the tasks, with room for what each of them has.

        Raises:
            CheckpointError: a state without curvature for a strategy with it, or a task without its statistics.
        """
        if self.curvature is not None and not below("curvature.", state):
            raise CheckpointError(
                "saved strategy without curvature",
                required="the factors of its tasks",
                found="none",
                hint="Build the strategy with curvature=None, as the saved one, or use a file that was not changed.",
            )
        of_net = below("net.", state)
        self.net.load_tasks({**state, **of_net})
        self.hyper.grow(len(of_net.get("hyper.embedding", ())))

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        super().load_state(state)
        if self.curvature is not None:
            self.curvature.to(self.hyper.embedding)

    def memory(self) -> dict[str, int]:
        """The hypernetwork (Table 6) and the normalisation statistics of each task."""
        memory = {"hypernetwork": nbytes(self.hyper.parameters()), "statistics": nbytes(self.net.statistics.buffers())}
        return memory if self.curvature is None else memory | {"curvature": nbytes(self.curvature.buffers())}

    def diagnostics(self) -> dict[str, list[float]]:
        """The recorded cosines."""
        return {"cosine": torch.stack(self.cosines).tolist()} if self.cosines else {}
