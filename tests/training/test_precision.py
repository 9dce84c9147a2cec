"""Precision: what is chosen, what it touches, and that a resumed run keeps it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from hypertail.errors import CheckpointError, ConfigError
from hypertail.hyper import Hypernetwork, Penalty
from hypertail.nets import decompose, slim_resnet18
from hypertail.seeds import seeded
from hypertail.strategies import Optimisation, Pace, PartialHypernet, Trunk
from hypertail.training.features.cache import FeatureCache
from hypertail.training.precision import Precision, Speed, autocast, choose_precision, multiplies_bfloat16
from hypertail.training.trainer import Trainer
from support.tiny import CONTINUAL, Name, build, tiny_stream

CPU = torch.device("cpu")


FACTS: dict[str, Any] = {"bfloat16": True, "pixels": 32, "convolutions": True}


@pytest.mark.parametrize("speed", ["full", "mixed"])
def test_what_is_told_is_chosen_whatever_the_facts(speed: Speed) -> None:
    assert choose_precision(speed, **FACTS) == speed
    assert choose_precision(speed, bfloat16=False, pixels=8, convolutions=False) == speed


@pytest.mark.parametrize(
    ("change", "chosen"),
    [
        ({}, "mixed"),
        ({"pixels": 64}, "mixed"),
        ({"pixels": 31}, "full"),
        ({"bfloat16": False}, "full"),
        ({"convolutions": False}, "full"),
    ],
)
def test_auto_is_a_rule(change: dict[str, Any], chosen: str) -> None:
    """case 1: all of three facts speak for mixed precision, and nothing else counts."""
    assert choose_precision("auto", **FACTS | change) == chosen


def test_auto_looks_at_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """case 1: on a busy machine a stopwatch would decide what a run learns."""
    for name in ("time", "perf_counter", "monotonic", "process_time"):
        monkeypatch.setattr(time, name, lambda: pytest.fail("the time was asked for"))
    assert choose_precision("auto", bfloat16=multiplies_bfloat16(CPU), pixels=8, convolutions=True) == "full"


@pytest.mark.parametrize("made", [(True, False), (False, True), (False, False)])
def test_processors_that_multiply_bfloat16(made: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: made[0], raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: made[1], raising=False)
    assert multiplies_bfloat16(CPU) is any(made)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert multiplies_bfloat16(CPU) is False


def test_a_torch_that_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    assert multiplies_bfloat16(CPU) is False


@pytest.mark.parametrize(("capability", "has"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_gpus_that_multiply_bfloat16(capability: tuple[int, int], has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert multiplies_bfloat16(torch.device("cuda")) is has


def test_unknown_speed() -> None:
    with pytest.raises(ConfigError, match="unknown speed 'fast': required one of auto, full, mixed; found 'fast'"):
        choose_precision("fast", **FACTS)  # type: ignore[arg-type]


def strategy() -> PartialHypernet:
    with seeded(0, "precision"):
        trunk, tail = decompose(slim_resnet18(2), 3)
        hyper = Hypernetwork.for_tail(tail, 3, rank=4)
    own = {"penalty_weight": 0.5, "output": None, "curvature": None, "pace": Pace()}
    return PartialHypernet(Trunk(trunk, learns=False), tail, hyper, Optimisation(1e-3), **own)  # type: ignore[arg-type]


def trained(which: Precision, checkpoint: Path | None = None, *, resume: bool = False) -> Trainer:
    trainer = Trainer(
        tiny_stream(2, per_class=6, size=16),
        strategy(),
        epochs=1,
        batch_size=8,
        precision=which,
        cache=FeatureCache(seed=0, views=1, precision=which),
        checkpoint=checkpoint,
    )
    trainer.run(resume=resume)
    return trainer


def test_mixed_training_is_near_full_training_and_keeps_float32_weights() -> None:
    full, mixed = trained("full"), trained("mixed")
    losses = [torch.tensor(own.result.losses) for own in (full, mixed)]
    assert not torch.equal(*losses)
    torch.testing.assert_close(*losses, rtol=0.05, atol=0.02)
    assert all(value.dtype != torch.bfloat16 for value in mixed.strategy.state().values())


@pytest.mark.parametrize("depth", [0, 2, 4])
@pytest.mark.parametrize("name", CONTINUAL)
def test_every_strategy_learns_in_mixed_precision(name: Name, depth: int) -> None:
    stream = tiny_stream(3, (2, 3, 2))
    learner = build(name, depth=depth, classes=3, adapter_rank=2)
    cache = FeatureCache(seed=0, views=1, precision="mixed")
    result = Trainer(stream, learner, epochs=2, batch_size=8, precision="mixed", cache=cache).run()
    assert torch.tensor(result.losses).isfinite().all()
    assert all(value.dtype != torch.bfloat16 for value in learner.state().values())


def test_a_run_is_not_resumed_at_another_precision(tmp_path: Path) -> None:
    """case 6: its numbers would be those of neither."""
    path = tmp_path / "checkpoint.safetensors"
    trained("mixed", path)
    with pytest.raises(CheckpointError, match=r"belongs to another run: required precision mixed; found full\. Resume"):
        trained("full", path, resume=True)
    assert trained("mixed", path, resume=True).result.losses


def test_the_penalty_is_computed_in_full_precision_whatever_surrounds_it() -> None:
    hyper = strategy().hyper
    penalty = Penalty(hyper, [0, 1])
    with torch.no_grad():
        for parameter in hyper.parameters():
            parameter.add_(1e-3)
    with autocast("mixed", CPU):
        inside = penalty(hyper)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, penalty(hyper))
