"""States that earlier versions wrote are read: each strategy answers as it did when it was saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hypertail.hyper import Curvature
from hypertail.storage.checkpoint import load_checkpoint
from hypertail.strategies import PartialHypernet
from hypertail.strategies.strategy import below
from support.asserts import assert_same_tensors
from support.tiny import Name, build, tiny_stream

STREAM = tiny_stream(2, (2, 3), per_class=4)
SAVED = Path(__file__).parents[1] / "formats" / "strategies-ce2906e.safetensors"
"""Of every strategy what it was after two tasks, and what it answered."""
OPTIONS: dict[Name, dict[str, Any]] = {
    "hn": {"net": "cnn", "depth": 2, "adapter_rank": 1},
    "ewc": {"net": "mlp"},
    "naive": {"net": "mlp", "state": "kept"},
    "joint": {"net": "mlp"},
    "lr": {"net": "cnn", "depth": 2},
    "separate": {"net": "cnn", "depth": 2},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_state_of_an_earlier_version_answers_as_it_did(name: Name) -> None:
    saved = below(f"{name}.", load_checkpoint(SAVED)[0])
    curvature = {"curvature": Curvature()} if name == "hn" else {}
    strategy = build(name, classes=3, tasks=2, **OPTIONS[name], **curvature)
    state = below("state.", saved)
    strategy.load_state(state)
    assert strategy.tasks == (0, 1)
    for task in (0, 1):
        images = STREAM[task].test_transform(STREAM[task].test.images, torch.Generator())
        inputs = images if strategy.frozen_trunk is None else strategy.frozen_trunk(images)
        with torch.no_grad():
            torch.testing.assert_close(strategy.predict(inputs, task), saved[f"logits.{task}"])
    # nothing was lost: every number of the file is in the state
    assert sorted(v.double().sum().item() for v in strategy.state().values()) == pytest.approx(
        sorted(value.double().sum().item() for value in state.values())
    )
    if isinstance(strategy, PartialHypernet):
        earlier = below("hyper.residuals.", state)
        assert_same_tensors(earlier, below("hyper.adapters.", below("net.", strategy.state())))
