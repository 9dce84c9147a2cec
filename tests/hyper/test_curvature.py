from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from hypertail.hyper import Curvature, PartialHypernetwork
from support.asserts import assert_same_tensors
from support.tiny import hypernetwork

Factors = tuple[dict[str, Tensor], dict[str, Tensor]]


def net(*, classes: tuple[int, ...] = (3,), inplace: bool = False) -> PartialHypernetwork:
    layers = OrderedDict(
        conv=nn.Conv2d(2, 3, 3, padding=1),
        relu=nn.ReLU(inplace=inplace),
        norm=nn.BatchNorm2d(3),
        pool=nn.AdaptiveAvgPool2d(2),
        flatten=nn.Flatten(),
        wide=nn.Linear(12, 4),
        tanh=nn.Tanh(),
        head=nn.Linear(4, max(classes)),
    )
    tail = nn.Sequential(layers).double()
    own = PartialHypernetwork(nn.Sequential(), tail, hypernetwork(tail, tasks=len(classes)).double())
    for task, count in enumerate(classes):
        own.begin_task(task, count)
    return own


def features(count: int = 5, seed: int = 0) -> Tensor:
    return torch.randn(count, 2, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def directions(count: int, classes: int) -> Tensor:
    """What a generator seeded with 9 draws for one chunk."""
    return torch.randn(count, classes, generator=torch.Generator().manual_seed(9)).double()


@torch.no_grad()
def slow_factors(own: PartialHypernetwork, task: int, z: Tensor) -> Factors:
    """Sample by sample and position by position; derivatives by central differences."""
    tail = own.tail.eval()
    weights = {**own.weights(task), **own.statistics[task]}
    v, step = directions(len(z), own.classes[task]), 1e-5
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}
    for name in ("conv", "wide", "head"):
        layer = tail.get_submodule(name)
        for sample, direction in zip(z, v, strict=True):
            seen: list[Tensor] = []
            offset: list[Tensor] = []

            def hook(_: nn.Module, args: tuple[Tensor], out: Tensor) -> Tensor:
                seen[:] = [args[0].clone(), out.clone()]  # noqa: B023
                return out + offset[0] if offset else out  # noqa: B023

            handle = layer.register_forward_hook(hook)
            functional_call(tail, weights, (sample.unsqueeze(0),))
            into, out = (value[0].reshape(value.shape[1], -1) for value in seen)
            shape = seen[1].shape
            slope = torch.zeros(out.shape, dtype=z.dtype)
            for index in range(out.numel()):
                values = []
                for sign in (step, -step):
                    bump = torch.zeros(out.numel(), dtype=z.dtype)
                    bump[index] = sign
                    offset[:] = [bump.view(shape)]
                    values.append(functional_call(tail, weights, (sample.unsqueeze(0),))[0] @ direction)
                slope.view(-1)[index] = (values[0] - values[1]) / (2 * step)
            handle.remove()
            a = sum(torch.outer(into[:, p], into[:, p]) for p in range(into.shape[1])) / into.shape[1]
            positions = slope.shape[1]
            g = positions * sum(torch.outer(slope[:, p], slope[:, p]) for p in range(positions))
            key = f"{name}.weight"
            inputs[key] = inputs.get(key, 0) + a / len(z)
            outputs[key] = outputs.get(key, 0) + g / len(z)
    return inputs, outputs


def updated(own: PartialHypernetwork, *tasks: int, **options: int) -> Curvature:
    curvature = Curvature()
    for task in tasks:
        curvature.update(own, task, features(seed=task), torch.Generator().manual_seed(9), **options)
    return curvature


@pytest.mark.parametrize("inplace", [False, True])
def test_factors_equal_the_slow_ones(inplace: bool) -> None:
    """Whether an in-place activation follows a layer makes no difference."""
    inputs, outputs = slow_factors(net(), 0, features())
    fast = updated(net(inplace=inplace), 0)
    for name in inputs:
        torch.testing.assert_close(fast.inputs[name], inputs[name], rtol=1e-9, atol=1e-12)
    for name in ("conv.weight", "wide.weight"):  # the penalty has no use for the classifier's
        torch.testing.assert_close(fast.outputs[name], outputs[name], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 1, 1), (2, 1, 1), (1, (0, 2), 1), (1, 2, 2)])
def test_kernel_positions_equal_the_slow_ones(stride: int, padding: int | tuple[int, int], dilation: int) -> None:
    """Every pair of kernel positions, at every position, with the zeros of the padding."""
    own = net()
    own.tail[0] = nn.Conv2d(2, 3, 3, stride, padding, dilation).double()  # type: ignore[operator]
    z = features()
    fast = Curvature()
    fast.update(own, 0, z, torch.Generator().manual_seed(9))
    up, left = padding if isinstance(padding, tuple) else (padding, padding)
    padded = nn.functional.pad(z, (left, left, up, up))
    slow = torch.zeros(9, 9, dtype=z.dtype)
    reach = 2 * dilation
    for row in range(0, padded.shape[2] - reach, stride):
        for column in range(0, padded.shape[3] - reach, stride):
            patch = padded[:, :, row : row + reach + 1 : dilation, column : column + reach + 1 : dilation].flatten(2)
            for one in range(9):
                for other in range(9):
                    slow[one, other] += (patch[:, :, one] * patch[:, :, other]).sum()
    torch.testing.assert_close(fast.positions["conv.weight"], slow / slow.diagonal().mean(), rtol=1e-9, atol=1e-12)
    assert set(fast.positions) == {"conv.weight"}


def test_factors_of_several_tasks_are_averaged() -> None:
    own = net(classes=(3, 3, 3))
    each = [updated(own, task) for task in range(3)]
    together = updated(own, 0, 1, 2)
    assert together.tasks == 3
    for name in together.inputs:
        mean = torch.stack([one.inputs[name] for one in each]).mean(0)
        torch.testing.assert_close(together.inputs[name], mean)
    mean = torch.stack([one.positions["conv.weight"] for one in each]).mean(0)
    torch.testing.assert_close(together.positions["conv.weight"], mean)
    for name in set(together.outputs) - {"head.weight"}:
        mean = torch.stack([one.outputs[name] for one in each]).mean(0)
        torch.testing.assert_close(together.outputs[name], mean)


def test_tasks_may_differ_in_their_number_of_classes() -> None:
    own = net(classes=(3, 2))
    curvature = updated(own, 0, 1)
    assert curvature.tasks == 2
    assert curvature.inputs["head.weight"].shape == (4, 4)


def test_input_factors_do_not_depend_on_the_chunk() -> None:
    whole, parts = updated(net(), 0), updated(net(), 0, chunk=2)
    for name, factor in whole.inputs.items():
        torch.testing.assert_close(parts.inputs[name], factor)


def test_measuring_changes_neither_weights_nor_statistics() -> None:
    own = net()
    before = {**own.hyper.state_dict(), **own.statistics[0]}
    before = {name: value.clone() for name, value in before.items()}
    updated(own, 0)
    assert_same_tensors(before, {**own.hyper.state_dict(), **own.statistics[0]})
    assert not any(p.grad is not None for p in own.hyper.parameters())
    assert not any(module._forward_hooks for module in own.tail.modules())


def test_state_can_be_restored() -> None:
    curvature, other = updated(net(), 0), Curvature()
    other.load_state_dict(curvature.state_dict())
    assert other.tasks == 1
    assert_same_tensors(curvature.inputs, other.inputs)
    assert_same_tensors(curvature.outputs, other.outputs)
    assert_same_tensors(curvature.positions, other.positions)


def test_names_of_earlier_versions_are_read() -> None:
    curvature, other = updated(net(), 0), Curvature()
    earlier = {f"inputs:{name}": value for name, value in curvature.inputs.items()}
    earlier |= {f"outputs:{name}": value for name, value in curvature.outputs.items()}
    earlier |= {f"taps:{name}": value for name, value in curvature.positions.items()}
    other.load_state_dict({**earlier, "tasks": torch.tensor(1)})
    assert_same_tensors(curvature.state_dict(), other.state_dict())


def test_moments_of_tokens_are_over_channels_however_many_tokens_there_are() -> None:
    """case 30: with as many tokens as channels, factors were moments over tokens, without a word."""

    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean(1)

    tail = nn.Sequential(nn.Linear(4, 4), Mean(), nn.Linear(4, 3)).double()
    own = PartialHypernetwork(nn.Sequential(), tail, hypernetwork(tail).double())
    own.begin_task(0, 3)
    for count in (4, 7):
        z = torch.randn(5, count, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        z = z * torch.tensor([0.1, 1.0, 3.0, 10.0], dtype=torch.float64)  # channels of different scale
        curvature = Curvature()
        curvature.update(own, 0, z, torch.Generator().manual_seed(9))
        rows = z.flatten(0, 1)
        torch.testing.assert_close(curvature.inputs["0.weight"], rows.T @ rows / len(rows))
        slope = (directions(5, 3) @ own.weights(0)["2.weight"]).detach() / count  # of each token alike
        torch.testing.assert_close(curvature.outputs["0.weight"], count**2 * slope.T @ slope / 5)


def test_a_layer_that_sees_nothing_but_zeros_leaves_finite_factors() -> None:
    """A dead trunk: the second moments of kernel positions are divided by their mean, which is zero."""
    own, curvature = net(), Curvature()
    curvature.update(own, 0, torch.zeros(5, 2, 4, 4, dtype=torch.float64), torch.Generator().manual_seed(9))
    assert not curvature.positions["conv.weight"].any()
    for factors in (curvature.inputs, curvature.outputs, curvature.positions):
        assert all(factor.isfinite().all() for factor in factors.values())
