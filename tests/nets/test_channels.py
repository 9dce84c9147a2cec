from __future__ import annotations

import pytest
import torch
from torch import nn

from hypertail.errors import ConfigError
from hypertail.nets import channel_axis
from hypertail.nets.channels import feature_axis

LAST = (nn.Linear(5, 5), nn.LayerNorm(5), nn.RMSNorm(5))
FIRST = (
    *(nn.Conv1d(5, 5, 1), nn.Conv2d(5, 5, 1), nn.Conv3d(5, 5, 1), nn.ConvTranspose2d(5, 5, 1)),
    *(nn.BatchNorm1d(5), nn.BatchNorm2d(5), nn.InstanceNorm2d(5), nn.GroupNorm(1, 5)),
)


@pytest.mark.parametrize("layer", [*LAST, *FIRST], ids=lambda layer: type(layer).__name__)
def test_the_layer_tells_where_its_channels_are(layer: nn.Module) -> None:
    """case 30."""
    assert channel_axis(layer) == (-1 if layer in LAST else 1)


@pytest.mark.parametrize("layer", LAST, ids=lambda layer: type(layer).__name__)
def test_tokens_go_through_layers_that_have_channels_last(layer: nn.Module) -> None:
    """case 30: the axis is where a change of size would be refused."""
    assert layer(torch.rand(2, 7, 5)).shape == (2, 7, 5)
    with pytest.raises(RuntimeError):
        layer(torch.rand(2, 5, 7))


def test_a_layer_that_does_not_tell() -> None:
    """case 30."""
    with pytest.raises(ConfigError) as caught:
        channel_axis(nn.ReLU())
    assert str(caught.value) == (
        "channels of a ReLU: required a linear layer, a convolution or a normalisation layer; found ReLU. "
        "Name the axis of the channels yourself."
    )


POOL = (nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize(
    ("body", "shape", "axis"),
    [
        (nn.Sequential(*POOL), (2, 8, 8, 8), 1),
        (nn.Sequential(*POOL, nn.Linear(8, 4)), (2, 8, 8, 8), 1),
        (nn.Sequential(*POOL, nn.LayerNorm(8)), (2, 8, 4, 4), 1),
        (nn.Sequential(nn.Flatten(), nn.Linear(128, 4)), (2, 8, 4, 4), 1),
        (nn.Sequential(nn.LayerNorm((8, 4, 4)), *POOL), (2, 8, 4, 4), 1),
        (nn.Sequential(nn.BatchNorm2d(8), *POOL), (2, 8, 8, 8), 1),
        (nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8)), (2, 4, 4, 8), -1),
        (nn.Sequential(nn.RMSNorm(8)), (2, 8, 8, 8), -1),
        (nn.Sequential(nn.Linear(8, 8)), (2, 4, 4, 8), -1),
        (nn.Sequential(nn.Linear(8, 8)), (2, 8, 8), -1),
        (nn.Sequential(nn.Linear(8, 8)), (2, 5, 8), -1),
        (nn.Sequential(nn.Conv1d(8, 4, 1)), (2, 8, 8), 1),
        (nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 4)), (2, 8, 5), 1),
        (nn.Sequential(nn.ReLU()), (2, 5, 8), -1),
    ],
)
def test_where_features_have_their_channels(body: nn.Module, shape: tuple[int, ...], axis: int) -> None:
    assert feature_axis(body, torch.rand(shape)) == axis
