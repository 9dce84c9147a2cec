"""Elastic weight consolidation (Kirkpatrick et al., 2017; Table 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from hypertail.errors import CheckpointError, check_choice
from hypertail.hyper.roster import Roster
from hypertail.nets.tensors import BufferDict, nbytes
from hypertail.seeds import generator
from hypertail.strategies.naive import Naive, NaiveLesson
from hypertail.strategies.parts.descending import DescendingLesson
from hypertail.strategies.parts.multihead import MultiHead
from hypertail.strategies.parts.optimisation import Optimisation
from hypertail.strategies.strategy import Strategy, Task, below

Fisher = Literal["empirical", "exact"]


class EWC(Strategy):
    """Naive plus lambda · sum_j sum_p F_jp (theta_p - theta*_jp)^2 over all earlier tasks j.

    The sum over tasks is one quadratic in theta, so that two tensors per parameter, sum_j F_j and sum_j F_j theta*_j,
    hold it whatever the number of tasks. F_j is a Fisher diagonal, in evaluation mode: the mean over samples of the
    squared gradient of a log-likelihood, `empirical` of the true label, `exact` of every label, weighed by its
    probability. A sample learned with probability p = 1 - e of its label adds in the order of e^2 to the first and of e
    to the second, so that the empirical one nearly forgets a task that was learned well (Kunstner et al., 2019).

    Args:
        model: the whole main model, images -> logits.
        optimisation: optimizer and schedule.
        weight: lambda.
        fisher_samples: at most so many training images estimate the Fisher diagonal of a task.
        fisher_kind: `empirical`, or `exact`, which takes a pass for each class.
        seed: initialises the heads.

    Raises:
        ConfigError: an unknown kind.
    """

    earlier_names: ClassVar[Mapping[str, str]] = {"model.": "naive.model.", "optimizer.": "naive.moments."}

    def __init__(
        self,
        model: nn.Module,
        optimisation: Optimisation,
        *,
        weight: float = 1e4,
        fisher_samples: int = 256,
        fisher_kind: Fisher = "empirical",
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_choice("Fisher diagonal", fisher_kind, get_args(Fisher))
        self.naive = Naive(model, optimisation, seed=seed)
        self.weight, self.fisher_samples, self.fisher_kind = weight, fisher_samples, fisher_kind
        self.fisher, self.pull = BufferDict(), BufferDict()

    @property
    def roster(self) -> Roster:
        """The tasks begun so far."""
        return self.naive.roster

    @property
    def model(self) -> MultiHead:
        """The model with all heads."""
        return self.naive.model

    def begin(self, task: Task) -> EWCLesson:
        """Add the task's head."""
        self.naive.admit(task)
        # Heads of other tasks stay: nothing but the penalty would reach them, whose gradient at the anchor is rounding
        # error, and Adam makes whole steps of that.
        others = tuple(f"heads.{other}." for other in self.roster.classes if other != task.id)
        leaves = {name: leaf for name, leaf in self.model.named_parameters() if not name.startswith(others)}
        return EWCLesson(self, task, leaves)

    def penalty(self, leaves: Mapping[str, Tensor]) -> Tensor:
        """sum_jp F_jp (theta_p - theta*_jp)^2 over `leaves`, up to a constant, without lambda."""
        total = next(iter(leaves.values())).new_zeros(())
        for name, theta in leaves.items():
            if name in self.fisher:
                total = total + (self.fisher[name] * theta * theta - 2 * self.pull[name] * theta).sum()
        return total

    def add(self, task: Task, leaves: Mapping[str, Tensor]) -> None:
        """Add the Fisher diagonal and the anchor of a task just learned."""
        inputs, labels = task.plain()
        random = generator(self.model.seed, "fisher", task.id)
        some = torch.randperm(len(labels), generator=random)[: self.fisher_samples].sort().values.to(labels.device)
        diagonal = self._fisher_diagonal(inputs[some], labels[some], task.id)
        for name, theta in leaves.items():
            fisher = diagonal[name]
            nothing = torch.zeros_like(fisher)
            self.fisher[name] = self.fisher.get(name, nothing) + fisher
            self.pull[name] = self.pull.get(name, nothing) + fisher * theta.detach()

    def _fisher_diagonal(self, inputs: Tensor, labels: Tensor, task: int, chunk: int = 25) -> dict[str, Tensor]:
        self.model.eval()
        images = len(inputs)
        fixed = dict(self.model.named_buffers())
        parameters = {name: value.detach() for name, value in self.model.named_parameters()}

        def loss(theta: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            logits = functional_call(self.model, {**theta, **fixed}, (x.unsqueeze(0), task))
            cost = F.cross_entropy(logits, y.unsqueeze(0))
            # the square of the gradient is to be weighed by the probability exp(-cost)
            return cost * (-cost / 2).exp().detach() if self.fisher_kind == "exact" else cost

        if self.fisher_kind == "exact":
            every = torch.arange(self.model.widths[task], device=labels.device)
            labels, inputs = every.repeat(len(inputs)), inputs.repeat_interleave(len(every), 0)
        of_one = grad(loss)
        of_several = vmap(of_one, in_dims=(None, 0, 0))
        total = {name: torch.zeros_like(value) for name, value in parameters.items()}
        for x, y in zip(inputs.split(chunk), labels.split(chunk), strict=True):
            if len(x) > 1:
                squares = {name: g.square().sum(0) for name, g in of_several(parameters, x, y).items()}
            else:
                # vmap over one image has no rule for the pooling of channels-last features: it warns and loops
                squares = {name: g.square() for name, g in of_one(parameters, x[0], y[0]).items()}
            for name, square in squares.items():
                total[name] += square
        return {name: value / images for name, value in total.items()}

    def predict(self, inputs: Tensor, task: int) -> Tensor:
        """Logits of the task's head."""
        return self.naive.predict(inputs, task)

    def make_room(self, state: Mapping[str, Tensor]) -> None:
        """Restore the tasks and make their heads."""
        self.naive.make_room({**state, **below("naive.", state)})
        fisher, pull = below("fisher.", state), below("pull.", state)
        known = dict(self.model.named_parameters())
        for name in fisher.keys() ^ pull.keys() | fisher.keys() - known.keys():
            raise CheckpointError(
                f"Fisher sums of '{name}'",
                required="both sums of a parameter of the model",
                found="one of them" if name in known else "no such parameter",
                hint="Use a file that was not changed after it was written.",
            )

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        super().load_state(state)
        like = next(self.model.parameters())
        for sums in (self.fisher, self.pull):
            sums.to(like)

    def memory(self) -> dict[str, int]:
        """The model and the two Fisher sums."""
        return self.naive.memory() | {"fisher": nbytes([*self.fisher.values(), *self.pull.values()])}


class EWCLesson(DescendingLesson):
    """Adam on the cross-entropy of the current task and the penalty."""

    def __init__(self, strategy: EWC, task: Task, leaves: Mapping[str, Tensor]) -> None:
        self.strategy, self.task = strategy, task
        head = [name for name in leaves if name.startswith(f"heads.{task.id}.")]
        self.naive = NaiveLesson(strategy.naive, task, leaves, own=head)
        self.descent = self.naive.descent

    def step(self, inputs: Tensor, labels: Tensor, task: int | None = None) -> Tensor:
        """One step on the cross-entropy plus the penalty; the cross-entropy is returned."""
        loss = self.naive.cross_entropy(inputs, labels, task)
        self.descent.descend(loss + self.strategy.weight * self.strategy.penalty(self.descent.leaves))
        return loss.detach()

    def end(self) -> None:
        """Add the task's Fisher diagonal and anchor."""
        self.strategy.add(self.task, self.descent.leaves)
        self.naive.end()
