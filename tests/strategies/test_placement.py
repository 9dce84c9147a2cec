"""A state is loaded to where the strategy is, and with its type, whatever those of the saved one were."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from hypertail.hyper import Curvature
from hypertail.strategies import Strategy, Task
from support.tiny import CONTINUAL, Name, build

OPTIONS: dict[Name, dict[str, Any]] = {"hn": {"adapter_rank": 1, "output_weight": 0.3}, "separate": {"learns": False}}


def strategy_of(name: Name, state: Any = "kept", **options: Any) -> Strategy:
    curvature = {"curvature": Curvature()} if name == "hn" else {}
    return build(name, classes=3, tasks=1, state=state, **OPTIONS.get(name, {}), **curvature, **options)


def learn(strategy: Strategy, task: int, images: Tensor) -> None:
    labels = torch.arange(len(images)) % 3

    def given() -> Tensor:
        with torch.no_grad():
            return images if strategy.frozen_trunk is None else strategy.frozen_trunk(images)

    lesson = strategy.begin(Task(task, 3, 2, lambda: (given(), labels)))
    for _ in range(2):
        lesson.step(given(), labels)
    lesson.end()


IMAGES = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", [name for name in CONTINUAL if name != "separate"])
def test_a_float32_state_is_loaded_into_a_strategy_in_float64(name: Name) -> None:
    saved, strategy = strategy_of(name), strategy_of(name).double()
    for task in range(2):
        learn(saved, task, IMAGES)
    strategy.load_state(saved.state())
    # moments of Adam and exemplars become float64 when they are used
    later = ("moments.", "naive.moments.", "buffer.") if name != "lda" else ()
    floats = {key: value.dtype for key, value in strategy.state_dict().items() if value.is_floating_point()}
    assert {key for key, dtype in floats.items() if dtype != torch.float64 and not key.startswith(later)} == set()
    with torch.no_grad():
        inputs = IMAGES if strategy.frozen_trunk is None else saved.frozen_trunk(IMAGES)  # type: ignore[misc]
        expected = saved.predict(inputs, 1)
        torch.testing.assert_close(strategy.predict(inputs.double(), 1).float(), expected, rtol=1e-3, atol=1e-4)
    learn(strategy, 2, IMAGES.double())


@pytest.mark.parametrize("name", [name for name in CONTINUAL if name not in ("lda", "separate")])
def test_a_state_in_main_memory_is_loaded_to_where_the_strategy_is(name: Name) -> None:
    """The device without numbers stands for another one."""
    saved, strategy = strategy_of(name), strategy_of(name).to("meta")
    for task in range(2):
        learn(saved, task, IMAGES)
    strategy.load_state(saved.state())
    assert {key for key, value in strategy.state_dict().items() if not value.is_meta} == set()
