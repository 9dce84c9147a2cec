"""The one call for the values that were measured gives what the preset `tuned` gives (case 32)."""

from __future__ import annotations

import doctest
from dataclasses import replace

import pytest
import torch

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.run import strategy_of
from hypertail.nets import decompose, slim_resnet18
from hypertail.nets.body import headless
from hypertail.strategies import PartialHypernet, Task, tuned, tuned_hypernet
from hypertail.strategies.tuned import TailStart
from hypertail.training import Trainer, train_trunk
from support.tiny import tiny_stream

STREAM = tiny_stream(3, size=16)


@pytest.mark.parametrize("depth", [0, 1, 2, 3, 4])
def test_case_32_the_python_api_is_the_preset(depth: int) -> None:
    """Case 32: constructor defaults were not the preset whose numbers are quoted."""
    config = RunConfig("digits", "hn", depth, seed=5)
    trunk, tail = decompose(slim_resnet18(STREAM.max_classes, channels=STREAM.image_shape[0]), depth)
    lab = strategy_of(config, STREAM, trunk, own_tail=headless(tail)[0])
    start: TailStart = "pretrained" if depth in (1, 2, 3) else "fresh"
    own = tuned_hypernet(trunk, tail, tasks=len(STREAM), seed=5, tail_start=start)
    assert bool(own.hyper.base) == (start == "pretrained")
    assert isinstance(lab, PartialHypernet)
    mine, theirs = own.hyper.state_dict(), lab.hyper.state_dict()
    assert list(mine) == list(theirs)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    for name in ("penalty_weight", "reduction", "penalty_form", "lookahead", "virtual_step", "combine", "pace"):
        assert getattr(own, name) == getattr(lab, name), name
    for name in ("channel_vectors", "new_embedding", "per_sample", "record_cosine", "seed"):
        assert getattr(own, name) == getattr(lab, name), name
    assert own.output is not None
    assert own.output == lab.output
    assert own.curvature is not None
    assert lab.curvature is not None
    assert own.curvature.damping == lab.curvature.damping
    assert own.optimisation == lab.optimisation


def test_a_trunk_trained_alone_and_a_tuned_strategy_learn_a_stream() -> None:
    trunk, tail = train_trunk(STREAM[0], classes=STREAM.max_classes, depth=3, epochs=1, batch_size=8)
    strategy = tuned_hypernet(trunk, tail, tail_start="pretrained")
    accuracy = Trainer(STREAM, strategy, epochs=1, batch_size=8).run().accuracy
    assert accuracy[-1].isfinite().all()
    assert strategy.tasks == (0, 1, 2)
    assert not any(parameter.requires_grad for parameter in strategy.trunk.module.parameters())


def test_the_same_seed_gives_the_same_trunk() -> None:
    def trained(seed: int) -> dict[str, torch.Tensor]:
        return train_trunk(STREAM[0], depth=4, epochs=1, batch_size=8, seed=seed)[0].state_dict()

    first, again, other = trained(1), trained(1), trained(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_a_task_of_its_own_name() -> None:
    trunk, tail = decompose(slim_resnet18(2, channels=STREAM.image_shape[0]), 4)
    strategy = tuned_hypernet(trunk, tail)
    strategy.begin(replace(Task(7, 2, 1, lambda: (torch.zeros(4, 160, 2, 2), torch.zeros(4).long())), name="bakery"))
    assert strategy.net.roster.names == {7: "bakery"}


def test_the_example_of_its_docstring() -> None:
    assert doctest.testmod(tuned).attempted == 3
    assert doctest.testmod(tuned).failed == 0
