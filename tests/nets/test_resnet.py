from __future__ import annotations

import pytest
import torch
from torch import nn

from hypertail.nets import decompose, slim_resnet18, stage_names
from support.reference import tail_shapes

FEATURES = {
    0: (3, 32, 32),
    1: (20, 32, 32),
    2: (40, 16, 16),
    3: (80, 8, 8),
    4: (160, 4, 4),
}  # Table 6, CIFAR-100


@pytest.mark.parametrize("depth", FEATURES)
def test_features_at_each_depth_have_the_shapes_of_table_6(depth: int) -> None:
    trunk, _ = decompose(slim_resnet18(5), depth)
    trunk.eval()
    with torch.no_grad():
        assert trunk(torch.zeros(1, 3, 32, 32)).shape[1:] == FEATURES[depth]


@pytest.mark.parametrize("depth", FEATURES)
def test_tails_hold_the_layers_of_the_paper(depth: int) -> None:
    _, tail = decompose(slim_resnet18(7), depth)
    assert sorted(tuple(p.shape) for p in tail.parameters()) == sorted(tail_shapes(depth, 7))


def test_size_of_the_main_model() -> None:
    model = slim_resnet18(100)
    assert sum(p.numel() for p in model.parameters()) == 1_109_240
    assert stage_names(model) == ["stem", "block1", "block2", "block3", "block4", "classifier"]


def test_width_and_image_channels_are_free() -> None:
    model = slim_resnet18(4, channels=1, width=6)
    assert model(torch.zeros(2, 1, 16, 16)).shape == (2, 4)
    assert model.get_submodule("classifier.linear").in_features == 48


def test_instance_norm_keeps_no_statistics_and_treats_every_image_alone() -> None:
    model = slim_resnet18(3, width=4, norm="instance").train()
    assert not list(model.buffers())
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    alone = torch.cat([model(image.unsqueeze(0)) for image in images])
    torch.testing.assert_close(model(images), alone)


def test_instance_norm_is_batch_norm_on_batches_of_one() -> None:
    batch, instance = slim_resnet18(3, width=4).train(), slim_resnet18(3, width=4, norm="instance").train()
    instance.load_state_dict({k: v for k, v in batch.state_dict().items() if k in instance.state_dict()})
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(batch(image), instance(image))


def test_convolutions_start_with_he_variance() -> None:
    large = {
        name: module
        for name, module in slim_resnet18(2).named_modules()
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 5000
    }
    assert len(large) > 10
    for name, module in large.items():
        fan_out = module.out_channels * module.kernel_size[0] ** 2
        assert float(module.weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.05), name
