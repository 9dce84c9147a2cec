from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from asserts import assert_same_tensors, state_of
from hypertail.nets import Frozen, Standardise


def features(*shape: int) -> Tensor:
    raw = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scale = torch.linspace(0.1, 30, shape[1], dtype=torch.float64).view(1, -1, *[1] * (len(shape) - 2))
    return (raw * scale + 7 * scale).float()


@pytest.mark.parametrize("shape", [(40, 5), (40, 5, 3, 2), (40, 5, 4)])
def test_features_get_mean_zero_and_deviation_one_per_channel(shape: tuple[int, ...]) -> None:
    x = features(*shape)
    stage = Standardise(shape[1])
    stage.fit(x.split(7))
    out = stage(x).movedim(1, -1).flatten(0, -2)
    torch.testing.assert_close(out.mean(0), torch.zeros(shape[1]), rtol=0, atol=1e-5)
    torch.testing.assert_close(out.std(0, correction=0), torch.ones(shape[1]), rtol=1e-5, atol=0)


def test_fit_does_not_depend_on_how_the_features_are_batched() -> None:
    x = features(40, 5, 3, 3)
    whole, parts = Standardise(5), Standardise(5)
    whole.fit([x])
    parts.fit(x.split(3))
    torch.testing.assert_close(whole.mean, parts.mean)
    torch.testing.assert_close(whole.std, parts.std)


def test_channels_far_from_zero_lose_no_precision() -> None:
    x = features(200, 3) + 1e4
    stage = Standardise(3)
    stage.fit(x.split(50))
    torch.testing.assert_close(stage.std.double(), x.double().std(0, correction=0), rtol=1e-5, atol=0)


def test_a_channel_that_never_varies_keeps_its_scale() -> None:
    x = torch.cat((features(20, 2), torch.full((20, 1), 3.0)), dim=1)
    stage = Standardise(3)
    stage.fit([x])
    assert float(stage.std[2]) == 1.0
    assert not stage(x)[:, 2].any()


def test_statistics_are_fixed_by_fit_alone_and_travel_with_the_state() -> None:
    stage = Standardise(4)
    assert torch.equal(stage(features(3, 4)), features(3, 4))
    stage.fit([features(30, 4)])
    before = state_of(stage)
    stage.train()(100 * features(30, 4))
    Frozen(stage).train()(100 * features(30, 4))
    assert_same_tensors(before, stage.state_dict())
    assert not list(stage.parameters())
    other = nn.Sequential(Standardise(4))
    other.load_state_dict(nn.Sequential(stage).state_dict())
    assert torch.equal(other(features(3, 4)), stage(features(3, 4)))
