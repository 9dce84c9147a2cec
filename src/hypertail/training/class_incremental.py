"""Accuracy at the end of a stream where no image says which task it is of (class-incremental)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from hypertail.nets.moments import Discriminant, Moments, pooled_covariance
from hypertail.nets.pooled import pooled
from hypertail.strategies import InfersTask, Strategy
from hypertail.streams import Stream
from hypertail.training.features.cache import FeatureCache, is_identity

Inference = Mapping[str, Mapping[str, float]]
CHUNK = 500


@torch.no_grad()
def class_incremental(stream: Stream, strategy: Strategy, cache: FeatureCache, split: str = "test") -> Inference:
    """How often class and task are right when the task is inferred, each in 0..1, mean over experiences.

    A task is inferred in two ways: as that of the nearest class mean of trunk features (Mahalanobis distance, one
    covariance for all classes), and as that whose tail is most confident. The task's own tail then decides the class.
    What the strategy infers by itself counts as the first.

    Args:
        stream: the experiences, all of them learned.
        strategy: what learned them.
        cache: gives inputs.
        split: `test`, or `validation`.

    Returns:
        way (`class_means`, `confidence`) -> {`accuracy`, `right_task`}; empty where nothing is frozen, so that no
        features stay comparable from task to task.
    """
    trunk = strategy.frozen_trunk
    if trunk is None or is_identity(trunk):
        return {}
    cache.set_trunk(trunk)
    tests = [cache.test(experience, split) for experience in stream]
    answers, confidences = [], []
    for experience in stream:
        found = [_answers(strategy.prepare(experience.task), inputs) for inputs in tests]
        answers.append([best for best, _ in found])
        confidences.append([confidence for _, confidence in found])
    infers = strategy.infer if isinstance(strategy, InfersTask) else _by_class_means(stream, cache)
    ways: dict[str, list[Tensor]] = {
        "class_means": [torch.cat([infers(part) for part in inputs.split(CHUNK)]) for inputs in tests],
        "confidence": [torch.stack([each[place] for each in confidences]).argmax(0) for place in range(len(tests))],
    }
    if isinstance(strategy, InfersTask):
        del ways["confidence"]
    return {way: _measured(stream, split, inferred, answers) for way, inferred in ways.items()}


def _answers(predict: Callable[[Tensor], Tensor], inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The best class of each input, and its probability."""
    logits = torch.cat([predict(part) for part in inputs.split(CHUNK)])
    confidence, best = torch.softmax(logits.float(), dim=1).max(1)
    return best.cpu(), confidence.cpu()


def _by_class_means(stream: Stream, cache: FeatureCache) -> Callable[[Tensor], Tensor]:
    """(inputs) -> the task of the nearest class mean, of what was computed from all training images."""
    every = []
    for experience in stream:
        vectors = torch.cat([pooled(part).cpu() for part in cache.plain(experience).split(CHUNK)])
        every.append(Moments.of(vectors, experience.train.labels.cpu(), len(experience.classes)))
    discriminant = Discriminant(torch.cat([each.means for each in every]), pooled_covariance(every))
    owners = torch.cat([torch.full((len(each.means),), task) for task, each in enumerate(every)])
    return lambda inputs: owners[discriminant.distances(pooled(inputs).cpu()).argmin(1)]


def _measured(stream: Stream, split: str, inferred: list[Tensor], answers: list[list[Tensor]]) -> dict[str, float]:
    right, tasks = [], []
    for place, experience in enumerate(stream):
        chosen, labels = inferred[place].cpu(), experience.examples(split).labels.cpu()
        here = chosen == experience.task
        given = torch.stack([each[place] for each in answers]).gather(0, chosen.unsqueeze(0)).squeeze(0)
        tasks.append(here.double().mean())
        right.append((here & (given == labels)).double().mean())
    return {"accuracy": float(torch.stack(right).mean()), "right_task": float(torch.stack(tasks).mean())}
