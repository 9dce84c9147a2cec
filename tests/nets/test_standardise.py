from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hypertail.errors import ConfigError
from hypertail.nets import Frozen, Standardise
from support.asserts import assert_same_tensors, state_of


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


@pytest.mark.parametrize("axis", [-1, 2])
def test_tokens_are_standardised_by_channel_however_many_tokens_there_are(axis: int) -> None:
    """case 30: as many tokens as channels gave moments over tokens, without a word."""
    x = features(40, 5, 5).transpose(1, 2)  # channels last, each of another scale
    stage = Standardise(5, axis)
    stage.fit(x.split(7))
    out = stage(x).flatten(0, 1)
    torch.testing.assert_close(out.mean(0), torch.zeros(5), rtol=0, atol=1e-5)
    torch.testing.assert_close(out.std(0, correction=0), torch.ones(5), rtol=1e-5, atol=0)
    torch.testing.assert_close(stage.mean, x.flatten(0, 1).mean(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("shape", "axis"), [((4, 7, 5), 1), ((4, 5, 7), -1), ((4, 5), 2), ((5,), -1), ((5,), 1)])
def test_features_whose_axis_does_not_fit_are_refused(shape: tuple[int, ...], axis: int) -> None:
    """case 30."""
    stage = Standardise(5, axis)
    for use in (stage, lambda x: stage.fit([x])):
        with pytest.raises(ConfigError) as caught:
            use(torch.zeros(shape))
        assert str(caught.value) == (
            f"features to standardise: required 5 channels along axis {axis}; found features of shape {shape}. "
            "Channels are axis 1 of images and axis -1 of tokens: build Standardise(channels, axis)."
        )


def test_the_axis_of_the_batch_holds_no_channels() -> None:
    """case 30."""
    with pytest.raises(ConfigError) as caught:
        Standardise(3, 0)
    assert str(caught.value) == (
        "axis of the channels: required an axis after the first, which is that of the batch; found 0. "
        "Give 1 for images, or -1 for tokens of (n, tokens, channels)."
    )


def test_nothing_to_fit_on_is_refused() -> None:
    """case 30: mean and deviation became NaN without a word."""
    stage = Standardise(3)
    with pytest.raises(ConfigError) as caught:
        stage.fit([])
    assert str(caught.value) == (
        "mean and deviation of features: required at least one feature; found none. "
        "Fit on the features of the first experience."
    )
    assert torch.equal(stage.mean, torch.zeros(3))
