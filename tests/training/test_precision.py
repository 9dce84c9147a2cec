"""Precision: what is chosen, what it touches, and that a resumed run keeps it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hypertail.errors import ConfigError
from hypertail.hyper import Hypernetwork, Penalty
from hypertail.nets import decompose, slim_resnet18
from hypertail.seeds import seeded
from hypertail.strategies import Optimisation, PartialHypernet, Trunk
from hypertail.training import precision
from hypertail.training.features import FeatureCache
from hypertail.training.precision import Precision, Speed, autocast, choose_precision
from hypertail.training.trainer import Trainer
from tiny import CONTINUAL, Name, build, tiny_stream

CPU = torch.device("cpu")


def batch() -> Tensor:
    return torch.zeros(2, 3)


@pytest.mark.parametrize("speed", ["full", "mixed"])
def test_what_is_told_is_chosen_without_a_trial(speed: Speed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_time_of_step", lambda *_: pytest.fail("a step was timed"))
    assert choose_precision(speed, nn.Linear(3, 2), batch, CPU) == speed


@pytest.mark.parametrize(("mixed", "chosen"), [(0.5, "mixed"), (0.74, "mixed"), (0.8, "full"), (2.0, "full")])
def test_auto_takes_mixed_only_for_a_clear_gain(mixed: float, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def time(module: nn.Module, inputs: Tensor, which: Precision, device: torch.device) -> float:
        nonlocal calls
        calls += 1
        # the first turn of each pays for what is prepared once, and must not count
        return (mixed if which == "mixed" else 1.0) + (50.0 if calls == 2 else 0.0)

    monkeypatch.setattr(precision, "_time_of_step", time)
    assert choose_precision("auto", nn.Linear(3, 2), batch, CPU) == chosen


def test_a_trial_leaves_the_module_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    choose_precision("auto", module, lambda: torch.randn(8, 3), CPU)
    assert not module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_nothing_to_train_is_full() -> None:
    assert choose_precision("auto", nn.Sequential(), batch, CPU) == "full"


def test_unknown_speed() -> None:
    with pytest.raises(ConfigError, match="unknown speed 'fast': required one of auto, full, mixed; found 'fast'"):
        choose_precision("fast", nn.Linear(3, 2), batch, CPU)  # type: ignore[arg-type]


def strategy() -> PartialHypernet:
    with seeded(0, "precision"):
        trunk, tail = decompose(slim_resnet18(2), 3)
        hyper = Hypernetwork({name: tuple(p.shape) for name, p in tail.named_parameters()}, 3, rank=4)
    return PartialHypernet(Trunk(trunk, learns=False), tail, hyper, Optimisation(1e-3))


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
    learner = build(name, depth=depth, classes=3, residual_rank=2)
    cache = FeatureCache(seed=0, views=1, precision="mixed")
    result = Trainer(stream, learner, epochs=2, batch_size=8, precision="mixed", cache=cache).run()
    assert torch.tensor(result.losses).isfinite().all()
    assert all(value.dtype != torch.bfloat16 for value in learner.state().values())


def test_a_resumed_run_keeps_the_precision_it_began_with(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    trained("mixed", path)
    resumed = trained("full", path, resume=True)
    assert (resumed.precision, resumed.cache.precision) == ("mixed", "mixed")


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
