"""Mathematical claims as named assertions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from hypertail.hyper import Hypernetwork, PartialHypernetwork
from hypertail.strategies import Strategy
from hypertail.training.result import Result


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the state dict."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def assert_same_tensors(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> None:
    """Same names; every tensor equal bit for bit (NaN equals NaN)."""
    assert set(a) == set(b)
    for name in a:
        assert a[name].dtype == b[name].dtype, name
        assert a[name].shape == b[name].shape, name
        assert torch.equal(a[name].nan_to_num(nan=-7.25), b[name].nan_to_num(nan=-7.25)), name


def assert_tail_after_trunk_equals_model(model: nn.Module, trunk: nn.Module, tail: nn.Module, images: Tensor) -> None:
    """tail(trunk(x)) == model(x), in training and in evaluation mode."""
    for training in (False, True):
        for module in (model, trunk, tail):
            module.train(training)
        with torch.no_grad():
            assert torch.equal(tail(trunk(images.clone())), model(images.clone()))


def assert_generated_matches_tail(hyper: Hypernetwork, tail: nn.Module) -> None:
    """For every task: exactly the names of the tail's parameters, in order, with their shapes, all finite."""
    wanted = {name: tuple(parameter.shape) for name, parameter in tail.named_parameters()}
    for task in range(hyper.tasks):
        generated = hyper(task)
        assert list(generated) == list(wanted)
        assert {name: tuple(value.shape) for name, value in generated.items()} == wanted
        assert all(value.isfinite().all() for value in generated.values())


def assert_penalty_zero_at_snapshot(penalty: Callable[[Hypernetwork], Tensor], hyper: Hypernetwork) -> None:
    """Exactly zero, and flat."""
    cost = penalty(hyper)
    assert float(cost.detach()) == 0.0
    for gradient in torch.autograd.grad(cost, list(hyper.parameters()), materialize_grads=True):
        assert not gradient.any()


def assert_gradients_close(
    a: Tensor, b: Tensor, leaves: Mapping[str, Tensor], *, rtol: float = 1e-9, atol: float = 1e-11
) -> None:
    """Two scalars have the same gradient with respect to every leaf."""
    ours = torch.autograd.grad(a, list(leaves.values()), materialize_grads=True, retain_graph=True)
    theirs = torch.autograd.grad(b, list(leaves.values()), materialize_grads=True, retain_graph=True)
    for name, x, y in zip(leaves, ours, theirs, strict=True):
        torch.testing.assert_close(x, y, rtol=rtol, atol=atol, msg=lambda text, name=name: f"{name}: {text}")


def assert_trunk_unchanged(before: Mapping[str, Tensor], trunk: nn.Module) -> None:
    """Parameters and statistics bit for bit, and nothing asks for a gradient."""
    assert_same_tensors(before, trunk.state_dict())
    assert not any(parameter.requires_grad for parameter in trunk.parameters())


@torch.no_grad()
def assert_prediction_independent_of_batch(strategy: Strategy, inputs: Tensor, task: int) -> None:
    """An image alone, among others, and in another order gets the same logits (float32 rounding apart)."""
    together = strategy.predict(inputs, task)
    alone = torch.cat([strategy.predict(inputs[i : i + 1], task) for i in range(len(inputs))])
    reverse = strategy.predict(inputs.flip(0), task).flip(0)
    among_noise = strategy.predict(torch.cat((inputs[:1], 9 * inputs[1:].flip(-1))), task)[:1]
    for other in (alone, reverse):
        torch.testing.assert_close(other, together, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(among_noise, together[:1], rtol=1e-4, atol=1e-5)


def assert_every_learning_parameter_gets_gradient(loss: Tensor, leaves: Mapping[str, Tensor]) -> None:
    """The loss reaches each leaf with a finite gradient that is not all zero."""
    gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    for name, gradient in zip(leaves, gradients, strict=True):
        assert gradient is not None, f"{name} is not reached"
        assert gradient.isfinite().all(), f"{name} has a gradient that is not finite"
        assert gradient.any(), f"{name} has no gradient"


@torch.no_grad()
def assert_materialized_equals_generated(net: PartialHypernetwork, images: Tensor, task: int) -> None:
    """The plain module of a task computes what trunk, generated weights and the task's statistics compute."""
    net.trunk.eval()
    net.tail.eval()
    module = net.materialize(task)
    assert not module.training
    logits = net(images, task)
    assert logits.shape == (len(images), net.classes[task])
    torch.testing.assert_close(module(images), logits, rtol=1e-5, atol=1e-6)
    assert not any(isinstance(part, Hypernetwork) for part in module.modules())
    own = {parameter.data_ptr() for parameter in module.parameters()}
    shared = own & {p.data_ptr() for part in (net.trunk, net.tail, net.hyper) for p in part.parameters()}
    assert not shared, "the plain module shares memory with the hypernetwork"


def assert_same_run(a: Result, b: Result, first: Strategy, second: Strategy) -> None:
    """Accuracies, losses, curves, bytes and everything learned agree bit for bit; only seconds may differ."""
    assert_same_tensors({"accuracy": a.accuracy}, {"accuracy": b.accuracy})
    assert a.losses == b.losses
    assert a.curves == b.curves
    assert a.changed == b.changed
    assert a.recorded == b.recorded
    assert a.bytes_per_experience == b.bytes_per_experience
    assert_same_tensors(first.state(), second.state())
