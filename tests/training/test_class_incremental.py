"""What is right where no image says which task it is of, against a slow twin."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
from sklearn.covariance import empirical_covariance
from torch import nn

from hypertail.strategies import InfersTask, Strategy
from hypertail.streams import Stream
from hypertail.training.class_incremental import class_incremental
from hypertail.training.features.cache import FeatureCache
from support.tiny import Name, build, tiny_stream, train

STREAM = tiny_stream(3, (2, 3, 2), per_class=9, validation=True)
WAYS = ("class_means", "confidence", "combined")


def test_a_predictor_is_prepared_once_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    strategy, prepared = trained("hn"), list[int]()
    prepare = strategy.prepare
    monkeypatch.setattr(strategy, "prepare", lambda task: (prepared.append(task), prepare(task))[1])
    class_incremental(STREAM, strategy, FeatureCache(seed=0))
    assert prepared == [0, 1, 2]


@torch.enable_grad()
def trained(name: Name) -> Strategy:
    strategy = build(name, classes=3, **({} if name in ("adapter", "lda") else {"learns": False}))
    train(strategy, STREAM, epochs=2)
    return strategy


def features(strategy: Strategy, stream: Stream, split: str) -> list[torch.Tensor]:
    trunk = cast(nn.Module, strategy.frozen_trunk)
    images = [each.test_transform(getattr(each, split).images, torch.Generator()) for each in stream]
    return [trunk(batch) for batch in images]


def squared_distances(strategy: Strategy, vector: np.ndarray) -> tuple[list[float], list[int]]:
    """To every class mean, and the task of each, all written out in numpy."""
    means, owners, residuals = [], [], []
    for experience, inputs in zip(STREAM, features(strategy, STREAM, "train"), strict=True):
        pooled = np.concatenate((inputs.mean((2, 3)).numpy(), inputs.flatten(2).std(2, correction=0).numpy()), 1)
        for label in range(len(experience.classes)):
            rows = pooled[experience.train.labels.numpy() == label].astype(np.float64)
            means.append(rows.mean(0))
            owners.append(experience.task)
            residuals.append(rows - rows.mean(0))
    every = np.concatenate(residuals)
    covariance = empirical_covariance(every, assume_centered=True) * len(every) / (len(every) - len(means))
    covariance += 1e-2 * covariance.diagonal().mean() * np.eye(len(covariance))
    inverse = np.linalg.inv(covariance)
    return [float((vector - mean) @ inverse @ (vector - mean)) for mean in means], owners


def combined_task(distances: list[float], owners: list[int], surest: list[float]) -> int:
    """Of p(t | x) p(c | t, x) the largest, in logarithms."""
    logs = [
        np.logaddexp.reduce([-distance / 4 for distance, owner in zip(distances, owners, strict=True) if owner == task])
        + np.log(share)
        for task, share in enumerate(surest)
    ]
    return int(np.argmax(logs))


@pytest.mark.parametrize("split", ["test", "validation"])
@pytest.mark.parametrize("name", ["adapter", "hn", "lr", "separate"])
@torch.no_grad()
def test_all_ways_equal_their_slow_twins(name: Name, split: str) -> None:
    strategy = trained(name)
    found = class_incremental(STREAM, strategy, FeatureCache(seed=0), split)
    right: dict[str, list[float]] = {way: [] for way in WAYS}
    tasks: dict[str, list[float]] = {way: [] for way in WAYS}
    for experience, inputs in zip(STREAM, features(strategy, STREAM, split), strict=True):
        hits: dict[str, list[tuple[bool, bool]]] = {way: [] for way in WAYS}
        for row, label in zip(inputs, getattr(experience, split).labels.tolist(), strict=True):
            shares = [torch.softmax(strategy.predict(row[None], task), 1)[0] for task in range(3)]
            vector = torch.cat((row.mean((1, 2)), row.flatten(1).std(1, correction=0))).double().numpy()
            distances, owners = squared_distances(strategy, vector)
            surest = [float(each.max()) for each in shares]
            chosen = {"class_means": owners[int(np.argmin(distances))], "confidence": int(np.argmax(surest))}
            chosen["combined"] = combined_task(distances, owners, surest)
            for way, task in chosen.items():
                here = task == experience.task
                hits[way].append((here and int(shares[task].argmax()) == label, here))
        for way, pairs in hits.items():
            right[way].append(float(np.mean([one for one, _ in pairs])))
            tasks[way].append(float(np.mean([other for _, other in pairs])))
    assert set(found) == set(WAYS)
    for way, result in found.items():
        assert result["accuracy"] == pytest.approx(np.mean(right[way]))
        assert result["right_task"] == pytest.approx(np.mean(tasks[way]))
        assert result["accuracy"] <= result["right_task"]


def test_what_a_strategy_infers_by_itself_is_used() -> None:
    strategy = trained("lda")
    assert isinstance(strategy, InfersTask)
    found = class_incremental(STREAM, strategy, FeatureCache(seed=0))
    inferred = [strategy.infer(inputs) == task for task, inputs in enumerate(features(strategy, STREAM, "test"))]
    assert list(found) == ["class_means"]
    assert found["class_means"]["right_task"] == pytest.approx(np.mean([each.double().mean() for each in inferred]))


@pytest.mark.parametrize("name", ["naive", "ewc"])
def test_nothing_is_measured_where_nothing_is_frozen(name: Name) -> None:
    strategy = build(name, classes=3)
    train(strategy, STREAM, epochs=1)
    assert class_incremental(STREAM, strategy, FeatureCache(seed=0)) == {}
