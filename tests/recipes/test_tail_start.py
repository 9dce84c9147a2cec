"""Every strategy whose tail learns on above a frozen trunk begins where `tail_start` says, so that none is ahead."""

from __future__ import annotations

import pytest
import torch

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.run import strategy_of
from hypertail.nets import decompose, slim_resnet18
from hypertail.nets.body import headless
from hypertail.recipes.catalogue import strategies_with
from hypertail.strategies import Task
from support.tiny import tiny_stream

STREAM = tiny_stream(2, size=16)


@pytest.mark.parametrize("start", ["pretrained", "fresh"])
@pytest.mark.parametrize("name", ["lwf", "replay", "separate"])
def test_a_tail_begins_as_it_was_trained_with_the_trunk_or_afresh(name: str, start: str) -> None:
    config = RunConfig("digits", name, 3, seed=5).with_options(tail_start=start)
    trunk, tail = decompose(slim_resnet18(STREAM.max_classes, channels=STREAM.image_shape[0]), 3)
    own = headless(tail)[0]
    with torch.no_grad():
        for parameter in own.parameters():  # as if it had learned
            parameter.add_(0.1)
    strategy = strategy_of(config, STREAM, trunk, own_tail=own)
    experience = STREAM[0]
    labels = experience.train.labels
    images = experience.train.images
    strategy.begin(Task(0, len(experience.classes), 1, lambda: (images, labels), None))
    kept = strategy.state()
    for path, value in own.named_parameters():
        (found,) = (tensor for key, tensor in kept.items() if key.startswith("tail") and key.endswith(f".{path}"))
        assert torch.equal(found, value) == (start == "pretrained")


def test_strategies_that_share_a_trunk_have_the_same_start() -> None:
    assert set(strategies_with("tail_start")) == {"hn", "lwf", "replay", "separate"}
