"""Partial (and full) hypernetwork at depth k: Algorithm 1 of the paper and its variants."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hypertail.errors import ConfigError, check_choice
from hypertail.hyper import (
    Curvature,
    Hypernetwork,
    LookAhead,
    PartialHypernetwork,
    Penalty,
    adam_step,
    direct_penalty,
    lookahead_gradients,
    sgd_step,
)
from hypertail.hyper.hypernetwork import NewEmbedding
from hypertail.hyper.lookahead import Combine, Parameters
from hypertail.hyper.output_penalty import OutputPenalty
from hypertail.hyper.penalty import Reduction
from hypertail.hyper.tails import check_tail
from hypertail.nets.mode import in_mode
from hypertail.nets.statistics import compute_statistics
from hypertail.seeds import generator
from hypertail.strategies.parts.optimisation import Optimisation
from hypertail.strategies.parts.pace import Pace
from hypertail.strategies.parts.trunk import Trunk
from hypertail.strategies.strategy import Strategy, Task, load_module, nbytes, prefixed, unprefixed

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
        output: an output-space term on earlier tasks, added to the penalty.
        curvature: weighs the penalty by what the logits of earlier tasks feel; None for the plain squared distance.
        pace: slows shared parameters down where a task takes few steps. Its normalisation statistics are then computed
            anew once it is learned, since their running average is still near where it began.
        per_sample: generate one weight set for every sample of the batch, as the authors' code does.
        record_cosine: keep the cosine between the two gradients at every step (Fig. 12).
        seed: drives fresh embeddings and the tasks drawn for the output-space term.

    Raises:
        ConfigError: `per_sample` with a tail that keeps normalisation statistics, or a tail with a parameter that
            cannot be generated, not be weighed by the curvature, or not be differentiated twice (see `check_tail`).
    """

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
        self.trunk, self.optimisation = trunk, optimisation
        self.net = PartialHypernetwork(trunk.module, tail, hyper)
        self.penalty_weight, self.reduction, self.penalty_form = penalty_weight, reduction, penalty_form
        self.lookahead, self.virtual_step, self.combine = lookahead, virtual_step, combine
        self.channel_vectors, self.pace = channel_vectors, pace
        self.new_embedding, self.output, self.curvature = new_embedding, output, curvature
        self.per_sample, self.record_cosine, self.seed = per_sample, record_cosine, seed
        self.penalty: Callable[[Hypernetwork], Tensor] | None = None
        self._psi: dict[str, Tensor] = {}
        self._lambda = penalty_weight
        self._cosines: list[Tensor] = []

    @property
    def tasks(self) -> tuple[int, ...]:
        """The ids of the tasks learned."""
        return tuple(self.net.classes)

    @property
    def frozen_trunk(self) -> nn.Module | None:
        """The trunk, once frozen."""
        return self.trunk.cacheable

    @property
    def hyper(self) -> Hypernetwork:
        """The hypernetwork H_psi."""
        return self.net.hyper

    def begin(self, task: Task) -> None:
        """Start the task's embedding and statistics, and take the snapshot H* if there are earlier tasks."""
        self.net.begin_task(task.task, task.classes, task.name)
        earlier = [other for other in self.net.classes if other != task.task]
        random = generator(self.seed, "embedding", task.task)
        self.hyper.begin_task(task.task, self.new_embedding, random, earlier[-1] if earlier else None)
        if earlier and self.channel_vectors == "fixed":
            self.hyper.fix_channel_vectors()
        self.penalty = self._new_penalty(earlier) if earlier else None
        self._lambda = self.penalty_weight * self.pace.weight(task.steps)
        self._psi = dict(self.hyper.trainable(task.task, all_rows=self.optimisation.keeps))
        self.optimisation.begin(self._psi | self.trunk.parameters(), task.steps, self.pace.rate(task.steps))
        if self.output is not None and earlier:
            self.output.begin(self.net, earlier, generator(self.seed, "output", task.task))

    def _new_penalty(self, earlier: list[int]) -> Callable[[Hypernetwork], Tensor]:
        if self.penalty_form == "closed":
            return Penalty(
                self.hyper,
                earlier,
                reduction=self.reduction,
                curvature=self.curvature,
                rows=self.optimisation.keeps,
            )
        snapshot = copy.deepcopy(self.hyper).requires_grad_(False)
        return lambda hyper: direct_penalty(snapshot, hyper, earlier, self.reduction)

    def step(self, inputs: Tensor, labels: Tensor, task: int) -> Tensor:
        """One step of Algorithm 1; the cross-entropy is returned."""
        self.net.tail.train()
        if self.penalty is None:
            features = self.trunk(inputs, training=True)
            loss = F.cross_entropy(self._logits(self.hyper, features, task), labels)
            self.optimisation.descend(loss)
            return loss.detach()
        features = self.trunk(inputs, training=True)
        if self.lookahead == "none" and not (self.record_cosine or self.per_sample):
            return self._plain_step(features, labels, task)
        result = lookahead_gradients(
            lambda psi: self._at(psi, lambda h: F.cross_entropy(self._logits(h, features, task), labels)),
            lambda psi: self._at(psi, lambda h: self._cost(h, features)),
            self._psi,
            order=self.lookahead,
            virtual_step=self._virtual_step(),
            combine=self.combine,
            record_cosine=self.record_cosine,
        )
        if result.cosine is not None:
            self._cosines.append(result.cosine)
        self.optimisation.step(result.gradients)
        return result.loss

    def _plain_step(self, features: Tensor, labels: Tensor, task: int) -> Tensor:
        """Without look-ahead both gradients are taken at psi: one backward pass, and weights generated together."""
        assert self.penalty is not None
        drawn = [] if self.output is None else self.output.draw()
        own, *others = self.hyper.several([task, *drawn])
        loss = F.cross_entropy(self.net.apply(self.net.crop(own, self.net.classes[task]), features, task), labels)
        cost = self._lambda * self.penalty(self.hyper)
        if self.output is not None:
            cost = cost + self.output(others, drawn, features)
        total = loss + cost
        self.optimisation.descend(total / 2 if self.combine == "mean" else total)
        return loss.detach()

    def _cost(self, hyper: Hypernetwork, features: Tensor) -> Tensor:
        """lambda times the penalty, plus the output-space term."""
        assert self.penalty is not None
        cost = self._lambda * self.penalty(hyper)
        if self.output is None:
            return cost
        drawn = self.output.draw()
        return cost + self.output(hyper.several(drawn), drawn, features)

    def _logits(self, hyper: Hypernetwork, features: Tensor, task: int) -> Tensor:
        classes = self.net.classes[task]
        if self.per_sample:
            weights = hyper.per_sample(torch.full((len(features),), task, device=features.device))
            return self.net.apply_per_sample(self.net.crop(weights, classes, dim=1), features)
        return self.net.apply(self.net.crop(hyper(task), classes), features, task)

    def _at(self, psi: Parameters, function: Callable[[Hypernetwork], Tensor]) -> Tensor:
        # at psi itself nothing has to stand in for the hypernetwork's own parameters
        return function(self.hyper) if psi is self._psi else self.hyper.at(psi, function)

    def _virtual_step(self) -> Callable[[Parameters, Parameters], dict[str, Tensor]]:
        adam = self.optimisation.adam
        assert adam is not None
        if self.virtual_step == "optimizer":
            return adam_step(adam, self._psi)
        return sgd_step(float(adam.param_groups[0]["lr"]))

    def end(self, task: Task) -> None:
        """Drop the snapshot; freeze the trunk after the first experience."""
        self.optimisation.end()
        self.trunk.freeze()
        self.net.trunk = self.trunk.module
        self.penalty, self._psi = None, {}
        anew = self.pace.is_short(task.steps) and bool(self.net.statistics[task.task])
        if anew or self.curvature is not None:
            features = self.trunk.features(task.plain()[0])
            if anew:
                weights = {name: weight.detach() for name, weight in self.net.weights(task.task).items()}
                compute_statistics(
                    self.net.tail,
                    self.net.statistics[task.task],
                    lambda part: self.net.apply(weights, part, task.task, training=True),
                    features,
                )
            if self.curvature is not None:
                self.curvature.update(self.net, task.task, features, generator(self.seed, "curvature", task.task))
        if self.output is not None:
            self.output.end()
        self.net.tail.eval()

    def prepare(self, task: int) -> Callable[[Tensor], Tensor]:
        """Generate the task's weights once, for any number of batches."""
        weights = self.net.weights(task)

        def predict(inputs: Tensor) -> Tensor:
            features = self.trunk(inputs, training=False)
            if not self.per_sample:
                return self.net.apply(weights, features, task, training=False)
            with in_mode(False, self.net.tail):
                return self._logits(self.hyper, features, task)

        return predict

    def predict(self, inputs: Tensor, task: int) -> Tensor:
        """Logits under the generated weights of the task."""
        return self.prepare(task)(inputs)

    def state(self) -> dict[str, Tensor]:
        """Trunk, hypernetwork, statistics and class count of each task, kept optimizer moments."""
        state = prefixed("trunk", self.trunk.state()) | prefixed("hyper", self.hyper.state_dict())
        for task, statistics in self.net.statistics.items():
            state |= prefixed(f"statistics.{task}", statistics)
        state |= self.net.roster.state()
        if self.curvature is not None:
            state |= prefixed("curvature", self.curvature.state())
        return state | prefixed("optimizer", self.optimisation.state())

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore all of it."""
        self.net.load_tasks(state)
        self.trunk.load_state(unprefixed("trunk", state))
        self.net.trunk = self.trunk.module
        hyper = unprefixed("hyper", state)
        self.hyper.grow(len(hyper.get("embedding", ())))
        load_module(self.hyper, hyper, "hypernetwork")
        if self.curvature is not None:
            self.curvature.load_state(unprefixed("curvature", state))
        self.optimisation.load_state(unprefixed("optimizer", state))

    def memory(self) -> dict[str, int]:
        """The hypernetwork (Table 6) and the normalisation statistics of each task."""
        statistics = sum(nbytes(own) for own in self.net.statistics.values())
        memory = {"hypernetwork": nbytes(dict(self.hyper.named_parameters())), "statistics": statistics}
        return memory if self.curvature is None else memory | {"curvature": nbytes(self.curvature.state())}

    def diagnostics(self) -> dict[str, list[float]]:
        """The recorded cosines."""
        return {"cosine": [float(value) for value in self._cosines]} if self._cosines else {}
