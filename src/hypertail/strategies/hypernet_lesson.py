"""One experience of a partial hypernetwork: the steps of Algorithm 1 and its variants."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from hypertail.hyper import Hypernetwork, Penalty, adam_step, direct_penalty, lookahead_gradients, sgd_step
from hypertail.hyper.lookahead import Parameters
from hypertail.hyper.snapshot import snapshot_of
from hypertail.nets.statistics import compute_statistics
from hypertail.seeds import generator
from hypertail.strategies.parts.descending import DescendingLesson
from hypertail.strategies.strategy import Task

if TYPE_CHECKING:
    from hypertail.strategies.partial_hypernet import PartialHypernet


class HypernetLesson(DescendingLesson):
    """What all experiences have in common.

    Attributes:
        psi: the parameters of the hypernetwork that learn, by name.
        descent: steps along their gradients, and those of the trunk while it learns.
    """

    def __init__(self, strategy: PartialHypernet, task: Task) -> None:
        self.strategy, self.task = strategy, task
        self.net, self.hyper, self.trunk = strategy.net, strategy.hyper, strategy.trunk
        optimisation = strategy.optimisation
        groups = self.hyper.groups(task.id, all_rows=optimisation.keeps)
        self.psi: dict[str, Tensor] = {**groups["shared"], **groups["task"]}
        # table rows of learned tasks are moved by kept momentum, their adapters are not
        own = [name for name in groups["task"] if name.startswith("adapters.")]
        groups |= {"trunk": self.trunk.group()}
        rate = strategy.pace.rate(task.steps)
        self.descent = optimisation.begin(groups, task.steps, strategy.moments, rate, own)

    def step(self, inputs: Tensor, labels: Tensor, task: int | None = None) -> Tensor:
        """One step of Algorithm 1; the cross-entropy is returned."""
        self.net.tail.train()
        return self.step_on(self.trunk.features(inputs, training=True), labels)

    @abstractmethod
    def step_on(self, features: Tensor, labels: Tensor) -> Tensor:
        """The step on features of the batch, the tail being in training mode."""

    def cross_entropy(self, hyper: Hypernetwork, features: Tensor, labels: Tensor) -> Tensor:
        """The loss under the weights that `hyper` generates for the task."""
        return F.cross_entropy(self.strategy.logits(hyper, features, self.task.id), labels)

    def end(self) -> None:
        """Freeze the trunk after the first experience; take statistics and curvature where they are asked for."""
        self.descent.end()
        self.trunk.freeze()
        strategy, task, statistics = self.strategy, self.task, self.net.statistics[self.task.id]
        compute_anew = strategy.pace.is_short(task.steps) and len(statistics) > 0
        if compute_anew or strategy.curvature is not None:
            features = self.trunk.all_features(task.plain()[0])
            if compute_anew:
                weights = {name: weight.detach() for name, weight in self.net.weights(task.id).items()}
                compute_statistics(
                    self.net.tail,
                    statistics,
                    lambda part: self.net.logits(weights, part, task.id, training=True),
                    features,
                )
            if strategy.curvature is not None:
                random = generator(strategy.seed, "curvature", task.id)
                strategy.curvature.update(self.net, task.id, features, random)
        self.net.tail.eval()


class FirstLesson(HypernetLesson):
    """The first experience: there is nothing yet to hold in place."""

    def step_on(self, features: Tensor, labels: Tensor) -> Tensor:
        """One step on the cross-entropy."""
        loss = self.cross_entropy(self.hyper, features, labels)
        self.descent.descend(loss)
        return loss.detach()


class LaterLesson(HypernetLesson):
    """An experience after others, whose weights a penalty against the snapshot H* holds in place.

    Attributes:
        penalty: of the hypernetwork, without its factor.
        weight: lambda, the factor.
        outputs: what earlier tasks gave, for output regularisation; None without it.
    """

    def __init__(self, strategy: PartialHypernet, task: Task, earlier: Sequence[int]) -> None:
        super().__init__(strategy, task)
        snapshot = snapshot_of(strategy.hyper, rows=strategy.optimisation.keeps)
        self.penalty = _penalty(strategy, earlier, snapshot)
        self.weight = strategy.penalty_weight * strategy.pace.weight(task.steps)
        self.outputs = None if strategy.output is None else strategy.output.begin(self.net, earlier, snapshot)

    def step_on(self, features: Tensor, labels: Tensor) -> Tensor:
        """One step along the gradients of cross-entropy and penalty."""
        strategy = self.strategy
        if strategy.lookahead == "none" and not (strategy.record_cosine or strategy.per_sample):
            return self._plain_step(features, labels)
        result = lookahead_gradients(
            lambda psi: self._at(psi, lambda hyper: self.cross_entropy(hyper, features, labels)),
            lambda psi: self._at(psi, lambda hyper: self._cost(hyper, features)),
            self.psi,
            order=strategy.lookahead,
            virtual_step=self._virtual_step(),
            combine=strategy.combine,
            record_cosine=strategy.record_cosine,
        )
        if result.cosine is not None:
            strategy.cosines.append(result.cosine)
        self.descent.step(result.gradients)
        return result.loss

    def _plain_step(self, features: Tensor, labels: Tensor) -> Tensor:
        """Without look-ahead both gradients are taken at psi: one backward pass, and weights generated together."""
        task, net = self.task.id, self.net
        drawn = [] if self.outputs is None else self.outputs.draw(self._random())
        of_task, *of_drawn = self.hyper.several([task, *drawn])
        loss = F.cross_entropy(net.logits(net.crop(of_task, net.classes[task]), features, task), labels)
        cost = self.weight * self.penalty(self.hyper)
        if self.outputs is not None:
            cost = cost + self.outputs(of_drawn, drawn, features)
        total = loss + cost
        self.descent.descend(total / 2 if self.strategy.combine == "mean" else total)
        return loss.detach()

    def _cost(self, hyper: Hypernetwork, features: Tensor) -> Tensor:
        """lambda times the penalty, plus output regularisation."""
        cost = self.weight * self.penalty(hyper)
        if self.outputs is None:
            return cost
        drawn = self.outputs.draw(self._random())
        return cost + self.outputs(hyper.several(drawn), drawn, features)

    def _random(self) -> torch.Generator:
        return generator(self.strategy.seed, "output", self.task.id, self.descent.taken)

    def _at(self, psi: Parameters, function: Callable[[Hypernetwork], Tensor]) -> Tensor:
        # at psi itself nothing has to stand in for the hypernetwork's own parameters
        return function(self.hyper) if psi is self.psi else self.hyper.at(psi, function)

    def _virtual_step(self) -> Callable[[Parameters, Parameters], dict[str, Tensor]]:
        adam = self.descent.adam
        if self.strategy.virtual_step == "optimizer":
            return adam_step(adam, self.psi)
        return sgd_step(float(adam.param_groups[0]["lr"]))


def _penalty(
    strategy: PartialHypernet, earlier: Sequence[int], snapshot: Hypernetwork
) -> Callable[[Hypernetwork], Tensor]:
    if strategy.penalty_form == "closed":
        return Penalty(
            strategy.hyper,
            earlier,
            reduction=strategy.reduction,
            curvature=strategy.curvature,
            rows=strategy.optimisation.keeps,
            snapshot=snapshot,
        )
    return lambda hyper: direct_penalty(snapshot, hyper, earlier, strategy.reduction)
