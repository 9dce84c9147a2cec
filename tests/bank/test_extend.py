"""More images for a task whose old ones are gone: what the classes without new images keep."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hypertail.bank.learning.extend import learn_head
from hypertail.bank.learning.task import hidden_moments, unseen_spread
from hypertail.nets.task_head import TaskHead
from hypertail.seeds import generator

CLASSES, WIDTH, NEAR, FAR = 5, 16, 0.3, 1.0
"""Images that were learned from lie nearer to the mean of their class than others do."""


def vectors(spread: float, count: int, *names: object) -> tuple[Tensor, Tensor]:
    random = generator(0, "extend", *names)
    means = 0.4 * torch.randn(CLASSES, WIDTH, generator=generator(0, "means"))
    labels = torch.arange(CLASSES).repeat_interleave(count)
    return means[labels] + spread * torch.randn(len(labels), WIDTH, generator=random), labels


def learned_head(inputs: Tensor, labels: Tensor) -> TaskHead:
    head = TaskHead(WIDTH, CLASSES)
    adam = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(200):
        adam.zero_grad()
        F.cross_entropy(head(inputs), labels).backward()
        adam.step()
    return head


def right(head: TaskHead, inputs: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return float((head(inputs).argmax(1) == labels).float().mean())


def test_images_of_some_classes_do_not_draw_the_head_away_from_the_others() -> None:
    inputs, labels = vectors(NEAR, 50, "train")
    test, new = vectors(FAR, 200, "test"), vectors(FAR, 100, "new")
    hidden = hidden_moments(inputs, labels, CLASSES)  # too narrow, as an older bank stored it
    rows = torch.isin(new[1], torch.tensor([3, 4]))
    others = test[1] < 3
    lost = {}
    for kept in (True, False):
        head = learned_head(inputs, labels)
        before = copy.deepcopy(head)
        learn_head(head, head, before if kept else None, hidden, new[0][rows], new[1][rows], seed=0)
        lost[kept] = right(before, test[0][others], test[1][others]) - right(head, test[0][others], test[1][others])
    assert lost[True] < 0.02
    assert lost[False] > 0.05


def test_stored_variances_are_as_wide_as_unseen_images_lie() -> None:
    inputs, labels = vectors(NEAR, 200, "train")
    hidden = hidden_moments(inputs, labels, CLASSES)
    # the held-out scatter is around means of finitely many images
    expected = (FAR / NEAR) ** 2
    assert unseen_spread(hidden, *vectors(FAR, 200, "held")) == pytest.approx(expected, rel=0.05)
    assert unseen_spread(hidden, *vectors(NEAR / 2, 200, "held")) == 1
    assert unseen_spread({**hidden, "variances": torch.zeros(CLASSES, WIDTH)}, *vectors(FAR, 2, "held")) == 1
