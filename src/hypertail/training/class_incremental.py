"""Accuracy at the end of a stream where no image says which task it is of (class-incremental)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from hypertail.nets.moments import Discriminant, Moments, pooled_covariance
from hypertail.nets.pooled import pooled
from hypertail.strategies import InfersTask, Strategy
from hypertail.streams import Stream
from hypertail.training.answers import CHUNK, logits_of
from hypertail.training.features.cache import FeatureCache, is_identity

Inference = Mapping[str, Mapping[str, float]]
TEMPERATURE = 2.0
"""Features are not Gaussian: without it the class means are too sure. From held-out data, where 1 to 4 differ by half a
point (notebook/2026-11-27-a-better-start.md)."""


@torch.no_grad()
def class_incremental(stream: Stream, strategy: Strategy, cache: FeatureCache, split: str = "test") -> Inference:
    """How often class and task are right when the task is inferred, each in 0..1, mean over experiences.

    A task is inferred in three ways: as that of the nearest class mean of trunk features (Mahalanobis distance, one
    covariance for all classes), as that whose tail is most confident, and from both: p(t | x) of the class means times
    p(c | t, x) of the tail's best class c. The task's own tail then decides the class. What the strategy infers by
    itself counts as the first.

    Args:
        stream: the experiences, all of them learned.
        strategy: what learned them.
        cache: gives inputs.
        split: `test`, or `validation`.

    Returns:
        way (`class_means`, `confidence`, `combined`) -> {`accuracy`, `right_task`}; empty where nothing is
        frozen, so that no features stay comparable from task to task.
    """
    trunk = strategy.frozen_trunk
    if trunk is None or is_identity(trunk):
        return {}
    cache.set_trunk(trunk)
    tests = [cache.test(experience, split) for experience in stream]
    answers, confidences = [], []
    for experience in stream:
        predict = strategy.prepare(experience.task)
        found = [_answers(predict, inputs) for inputs in tests]
        answers.append([best for best, _ in found])
        confidences.append([confidence for _, confidence in found])
    ways: dict[str, list[Tensor]] = {}
    if isinstance(strategy, InfersTask):
        ways["class_means"] = [torch.cat([strategy.infer(part) for part in inputs.split(CHUNK)]) for inputs in tests]
    else:
        means = _ClassMeans.of(stream, cache)
        distances = [torch.cat([means.distances(part) for part in inputs.split(CHUNK)]) for inputs in tests]
        surest = [torch.stack([each[place] for each in confidences], dim=1) for place in range(len(tests))]
        ways["class_means"] = [means.nearest(each) for each in distances]
        ways["confidence"] = [each.argmax(1) for each in surest]
        ways["combined"] = [
            (means.posterior(far) * sure).argmax(1) for far, sure in zip(distances, surest, strict=True)
        ]
    return {way: _measured(stream, split, inferred, answers) for way, inferred in ways.items()}


def _answers(predict: Callable[[Tensor], Tensor], inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The best class of each input, and its probability."""
    confidence, best = torch.softmax(logits_of(predict, inputs).float(), dim=1).max(1)
    return best.cpu(), confidence.cpu()


class _ClassMeans:
    """Class means of trunk features under one covariance, and the task of each."""

    def __init__(self, every: Sequence[Moments]) -> None:
        self.tasks = len(every)
        self.owners = torch.cat([torch.full((len(each.means),), task) for task, each in enumerate(every)])
        self._discriminant = Discriminant(torch.cat([each.means for each in every]), pooled_covariance(every))

    @classmethod
    def of(cls, stream: Stream, cache: FeatureCache) -> _ClassMeans:
        """Those of all training images."""
        every = []
        for experience in stream:
            vectors = torch.cat([pooled(part).cpu() for part in cache.plain(experience).split(CHUNK)])
            every.append(Moments.of(vectors, experience.train.labels.cpu(), len(experience.classes)))
        return cls(every)

    def distances(self, inputs: Tensor) -> Tensor:
        """To every mean, squared, (n, classes)."""
        return self._discriminant.distances(pooled(inputs).cpu())

    def nearest(self, distances: Tensor) -> Tensor:
        """The task of the nearest mean, (n,)."""
        return self.owners[distances.argmin(1)]

    def posterior(self, distances: Tensor) -> Tensor:
        """p(t | x), (n, tasks): of all its classes, each as likely at first as any other."""
        classes = torch.softmax(-0.5 * distances / TEMPERATURE, dim=1)
        return classes.new_zeros(len(classes), self.tasks).index_add_(1, self.owners, classes)


def _measured(stream: Stream, split: str, inferred: list[Tensor], answers: list[list[Tensor]]) -> dict[str, float]:
    right, tasks = [], []
    for place, experience in enumerate(stream):
        chosen, labels = inferred[place].cpu(), experience.examples(split).labels.cpu()
        here = chosen == experience.task
        given = torch.stack([each[place] for each in answers]).gather(0, chosen.unsqueeze(0)).squeeze(0)
        tasks.append(here.double().mean())
        right.append((here & (given == labels)).double().mean())
    return {"accuracy": float(torch.stack(right).mean()), "right_task": float(torch.stack(tasks).mean())}
