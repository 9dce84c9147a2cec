from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hypertail.errors import ConfigError
from hypertail.hyper import Hypernetwork, PartialHypernetwork
from hypertail.hyper.heads import CodeName
from hypertail.nets import decompose
from support.asserts import assert_materialized_equals_generated, assert_same_tensors, state_of
from support.tiny import BACKBONES, DEPTHS, backbone, hypernetwork, shapes_of

CODES: tuple[CodeName, ...] = ("additive", "product")


def images(count: int = 6, seed: int = 1, size: int = 8) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def partial(
    net: str = "cnn", depth: int = 2, classes: tuple[int, ...] = (3, 2), code: CodeName = "additive"
) -> PartialHypernetwork:
    trunk, tail = decompose(backbone(net, max(classes)), depth)
    result = PartialHypernetwork(trunk, tail, hypernetwork(tail, tasks=1, code=code))
    for task, count in enumerate(classes):
        result.begin_task(task, count)
        result.hyper.begin_task(task, "fresh", torch.Generator().manual_seed(task))
    return result


def train_on(own: PartialHypernetwork, x: Tensor, task: int) -> Tensor:
    """Logits in training mode: running statistics follow."""
    return own.logits(own.weights(task), own.trunk(x), task, training=True)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("net", BACKBONES)
def test_materialized_equals_generated(net: str, depth: int, code: CodeName) -> None:
    own = partial(net, depth, code=code)
    own.trunk.eval()
    for task in (0, 1):
        train_on(own, images(seed=task), task)  # running statistics that are no longer the initial ones
        assert_materialized_equals_generated(own, images(), task)


def test_materialized_module_has_the_task_s_own_width() -> None:
    module = partial(classes=(3, 2)).materialize(1)
    linear = [part for part in module.modules() if isinstance(part, nn.Linear)][-1]
    assert (linear.out_features, linear.weight.shape[0], linear.bias.shape[0]) == (2, 2, 2)


def test_materialized_module_does_not_follow_later_learning() -> None:
    own = partial()
    module = own.materialize(0)
    before = state_of(module)
    with torch.no_grad():
        for parameter in [*own.hyper.parameters(), *own.trunk.parameters()]:
            parameter.add_(1)
    train_on(own, images(), 0)
    assert_same_tensors(before, module.state_dict())


def test_buffers_outside_the_state_dict_do_not_hinder_materializing() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", torch.tensor([1.0, 0.0, 1.0]), persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            return x * self.mask

    tail = nn.Sequential(Masked(), nn.Linear(3, 2))
    own = PartialHypernetwork(nn.Sequential(), tail, hypernetwork(tail))
    own.begin_task(0, 2)
    x = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(own.materialize(0)(x), own(x, 0))


@pytest.mark.parametrize("net", BACKBONES)
def test_logits_are_those_of_a_tail_holding_the_generated_weights(net: str) -> None:
    own = partial(net, 2, classes=(2, 2))
    own.tail.eval()
    own.trunk.eval()
    expected = decompose(backbone(net), 2)[1].eval()
    fresh = {name: buffer.clone() for name, buffer in expected.named_buffers()}
    expected.load_state_dict({**own.hyper(1), **fresh})
    torch.testing.assert_close(own(images(), 1), expected(own.trunk(images())))


def test_the_tail_s_own_parameters_are_never_used() -> None:
    own = partial()
    own.tail.eval()
    own.trunk.eval()
    before = own(images(), 0)
    with torch.no_grad():
        for parameter in own.tail.parameters():
            parameter.fill_(torch.nan)
    assert torch.equal(own(images(), 0), before)


def test_statistics_belong_to_their_task() -> None:
    own = partial()
    fresh = state_of(own.statistics[1])
    skeleton = {name: buffer.clone() for name, buffer in own.tail.named_buffers()}
    train_on(own, images(), 0)
    assert_same_tensors(fresh, own.statistics[1])
    assert_same_tensors(skeleton, dict(own.tail.named_buffers()))
    assert any(not torch.equal(fresh[name], value) for name, value in own.statistics[0].items())
    own.tail.eval()
    kept = state_of(own.statistics[0])
    own(images(), 0)
    assert_same_tensors(kept, own.statistics[0])


def test_weights_are_cropped_to_the_task_s_classes() -> None:
    own = partial("cnn", 4, classes=(3, 2))
    assert own.width == 3
    wide, narrow = own.hyper(1), own.weights(1)
    assert torch.equal(narrow["last.2.weight"], wide["last.2.weight"][:2])
    assert torch.equal(narrow["last.2.bias"], wide["last.2.bias"][:2])
    assert own(images(), 0).shape == (6, 3)
    assert own(images(), 1).shape == (6, 2)


def test_one_weight_set_per_sample_equals_one_per_task_under_instance_norm() -> None:
    trunk, tail = decompose(backbone("instance").double(), 2)
    own = PartialHypernetwork(trunk, tail.train(), hypernetwork(tail, tasks=2).double())
    own.begin_task(1, 2)
    features, labels = trunk(images(size=16).double()).detach(), torch.tensor([0, 1, 0, 1, 1, 0])
    shared = own.logits(own.hyper(1), features, 1)
    single = own.logits_per_sample(own.hyper.per_sample(torch.full((6,), 1)), features)
    torch.testing.assert_close(single, shared)
    leaves = list(own.hyper.trainable(1).values())
    for a, b in zip(
        torch.autograd.grad(F.cross_entropy(single, labels), leaves),
        torch.autograd.grad(F.cross_entropy(shared, labels), leaves),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_too_many_classes() -> None:
    own = partial(classes=(3,))
    with pytest.raises(ConfigError) as caught:
        own.begin_task(1, 4)
    assert str(caught.value) == (
        "task 1 has too many classes: required at most 3 classes, the width of the heads; found 4. "
        "Build the hypernetwork with a classifier of at least 4 outputs."
    )
    assert 1 not in own.classes
    assert own.hyper.tasks == 1


def test_unknown_task() -> None:
    own = partial(classes=(3, 2))
    with pytest.raises(ConfigError) as caught:
        own(images(), 2)
    assert str(caught.value) == "unknown task 2: required one of the 2 tasks learned; found 2. Learn the task first."
    with pytest.raises(ConfigError, match="unknown task -1"):
        own.materialize(-1)


def test_hypernetwork_for_another_tail() -> None:
    tail = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(ConfigError) as caught:
        PartialHypernetwork(nn.Sequential(), tail, Hypernetwork({"weight": (2, 3)}, 1))
    assert str(caught.value) == (
        "hypernetwork and tail do not match: required heads for 0.weight 2x3, 0.bias 2; found weight 2x3. "
        "Build the hypernetwork by Hypernetwork.for_tail(tail, tasks)."
    )
    with pytest.raises(ConfigError) as caught:
        PartialHypernetwork(nn.Sequential(), tail, Hypernetwork(shapes_of(nn.Sequential(nn.Linear(4, 2))), 1))
    assert "2x3" in caught.value.required
    assert "2x4" in caught.value.found


def test_serving_changes_no_task_whatever_mode_the_parts_are_in() -> None:
    """case 28: in training mode, which modules are in when they are made, a prediction overwrote the statistics."""
    own = partial("resnet")
    assert not own.tail.training
    train_on(own, images(), 0)
    expected = own(images(), 0)
    before = state_of(own.statistics[0])
    for trunk_trains, tail_trains in ((True, True), (False, True), (True, False)):
        own.trunk.train(trunk_trains)
        own.tail.train(tail_trains)
        trunk = state_of(own.trunk)
        assert torch.equal(own(images(), 0), expected)
        for number, image in enumerate(images()):
            logits = own(image.unsqueeze(0), 0)
            torch.testing.assert_close(logits, expected[number : number + 1], rtol=1e-4, atol=1e-5)
        assert (own.trunk.training, own.tail.training) == (trunk_trains, tail_trains)
        assert_same_tensors(before, own.statistics[0])
        assert_same_tensors(trunk, own.trunk.state_dict())


def test_modes_come_back_after_an_error() -> None:
    """case 28."""
    own = partial("resnet")
    own.tail.train()
    with pytest.raises(ConfigError):
        own.logits(own.weights(0), torch.zeros(2, 1, 8, 8), 0, training=False)
    assert all(part.training for part in own.tail.modules())


def test_features_that_do_not_fit_name_the_stage_that_fails() -> None:
    """case 33: without a probe, the first use says where and with which shapes."""
    tail = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Linear(4, 2))
    own = PartialHypernetwork(nn.Sequential(), tail, hypernetwork(tail))
    own.begin_task(0, 2)
    for training in (None, False, True):
        with pytest.raises(ConfigError) as caught:
            own.logits(own.weights(0), torch.zeros(3, 4, 5, 5), 0, training=training)
        assert str(caught.value).startswith(
            "stage '1' of the tail (Linear) cannot take what it is given: required inputs that fit the layer; "
            "found shape (3, 4, 1, 1): mat1 and mat2 shapes cannot be multiplied (12x1 and 4x2). What a forward"
        )


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_an_exported_task_holds_no_image(tmp_path: Path) -> None:
    """case 38: with `images[:2]` as its example, the file held the whole test set."""
    own = partial("resnet", 2, classes=(2, 2))
    own.trunk.eval()
    data = images(4000)  # 3 MB, of which the features of some were learned
    train_on(own, data[:8], 0)
    module = own.materialize(0)
    held = [*module.parameters(), *module.buffers()]
    assert all(tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size() for tensor in held)
    path, example = tmp_path / "task.pt2", torch.zeros(2, 3, 8, 8)
    shapes = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(module, (example,), dynamic_shapes=shapes), path)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in held)
    assert path.stat().st_size < 1.5 * weights + 300_000 < data.untyped_storage().nbytes() / 2
    content = path.read_bytes()
    assert not any(data[number, 0, 0].numpy().tobytes() in content for number in range(8))
    loaded = torch.export.load(path).module()
    torch.testing.assert_close(loaded(data[:5]), own(data[:5], 0), rtol=1e-4, atol=1e-5)
