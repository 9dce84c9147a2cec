"""Elastic weight consolidation (Kirkpatrick et al., 2017; Table 2)."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from hypertail.errors import CheckpointError, check_choice
from hypertail.hyper import Roster
from hypertail.seeds import generator
from hypertail.strategies.parts.multihead import MultiHead, head_widths
from hypertail.strategies.parts.optimisation import Optimisation
from hypertail.strategies.strategy import Strategy, Task, nbytes, prefixed, unprefixed

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
        check_choice("Fisher diagonal", fisher_kind, get_args(Fisher))
        self.model, self.optimisation = MultiHead(model, seed), optimisation
        self.weight, self.fisher_samples, self.fisher_kind = weight, fisher_samples, fisher_kind
        self.fisher: dict[str, Tensor] = {}
        self.pull: dict[str, Tensor] = {}
        self.roster = Roster()

    @property
    def tasks(self) -> tuple[int, ...]:
        """The ids of the tasks learned."""
        return tuple(self.roster.classes)

    def begin(self, task: Task) -> None:
        """Add the task's head."""
        self.roster.admit(task.task, task.classes, task.name)
        self.model.add_task(task.classes, task.task)
        self.optimisation.begin(self._learning(task.task), task.steps)

    def _learning(self, task: int) -> dict[str, Tensor]:
        # Heads of other tasks stay: nothing but the penalty would reach them, whose gradient at the anchor is rounding
        # error, and Adam makes whole steps of that.
        others = tuple(f"heads.{other}." for other in self.roster.classes if other != task)
        return {name: leaf for name, leaf in self.model.named_parameters() if not name.startswith(others)}

    def step(self, inputs: Tensor, labels: Tensor, task: int) -> Tensor:
        """One Adam step on the cross-entropy plus the penalty; the cross-entropy is returned."""
        self.model.train()
        loss = F.cross_entropy(self.model(inputs, task), labels)
        self.optimisation.descend(loss + self.weight * self.penalty())
        return loss.detach()

    def penalty(self) -> Tensor:
        """sum_jp F_jp (theta_p - theta*_jp)^2 up to a constant, without lambda."""
        leaves = self.optimisation.leaves
        total = next(iter(leaves.values())).new_zeros(())
        for name, theta in leaves.items():
            if name in self.fisher:
                total = total + (self.fisher[name] * theta * theta - 2 * self.pull[name] * theta).sum()
        return total

    def end(self, task: Task) -> None:
        """Add the task's Fisher diagonal and anchor."""
        inputs, labels = task.plain()
        random = generator(self.model.seed, "fisher", task.task)
        some = torch.randperm(len(labels), generator=random)[: self.fisher_samples].sort().values.to(labels.device)
        fisher = self._fisher_diagonal(inputs[some], labels[some], task.task)
        for name, theta in self.optimisation.leaves.items():
            own = fisher[name]
            self.fisher[name] = self.fisher.get(name, torch.zeros_like(own)) + own
            self.pull[name] = self.pull.get(name, torch.zeros_like(own)) + own * theta.detach()
        self.optimisation.end()

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
        self.model.eval()
        return self.model(inputs, task)  # type: ignore[no-any-return]

    def state(self) -> dict[str, Tensor]:
        """Model, tasks, Fisher sums and kept optimizer moments."""
        return (
            prefixed("model", self.model.state_dict())
            | self.roster.state()
            | prefixed("fisher", self.fisher)
            | prefixed("pull", self.pull)
            | prefixed("optimizer", self.optimisation.state())
        )

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore all of it."""
        model = unprefixed("model", state)
        self.roster.load_state(state, "head", widths=head_widths(model))
        self.model.load_heads(model, self.roster.classes)
        self.fisher, self.pull = unprefixed("fisher", state), unprefixed("pull", state)
        known = dict(self.model.named_parameters())
        for name in self.fisher.keys() ^ self.pull.keys() | self.fisher.keys() - known.keys():
            raise CheckpointError(
                f"Fisher sums of '{name}'",
                required="both sums of a parameter of the model",
                found="one of them" if name in known else "no such parameter",
                hint="Use a file that was not changed after it was written.",
            )
        self.optimisation.load_state(unprefixed("optimizer", state))

    def memory(self) -> dict[str, int]:
        """The model and the two Fisher sums."""
        return {"model": nbytes(self.model.state_dict()), "fisher": nbytes(self.fisher) + nbytes(self.pull)}
