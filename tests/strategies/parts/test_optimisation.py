from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from typing import Literal

import pytest
import torch
from torch import Tensor

from hypertail.errors import ConfigError
from hypertail.nets import BufferDict
from hypertail.strategies import Optimisation
from hypertail.strategies.parts.optimisation import Descent, Groups
from support import reference
from support.asserts import assert_same_tensors


def leaves() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    return {
        "a": torch.randn(4, 3, 3, 3, generator=random).requires_grad_(),
        "b": torch.randn(5, generator=random).requires_grad_(),
    }


def gradients(count: int) -> list[dict[str, Tensor]]:
    random = torch.Generator().manual_seed(1)
    return [{name: torch.randn(leaf.shape, generator=random) for name, leaf in leaves().items()} for _ in range(count)]


def copies(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: leaf.detach().clone() for name, leaf in parameters.items()}


def begin(
    optimisation: Optimisation, groups: Groups, steps: int, moments: BufferDict | None = None, factor: float = 1.0
) -> Descent:
    return optimisation.begin(groups, steps, BufferDict() if moments is None else moments, factor)


def run(
    optimisation: Optimisation,
    parameters: dict[str, Tensor],
    steps: list[dict[str, Tensor]],
    moments: BufferDict | None = None,
) -> dict[str, Tensor]:
    descent = begin(optimisation, {"all": parameters}, len(steps), moments)
    for step in steps:
        descent.step(step)
    descent.end()
    return copies(parameters)


def test_steps_are_adam_s() -> None:
    parameters, steps = leaves(), gradients(4)
    start = copies(parameters)
    after = run(Optimisation(0.01, "constant"), parameters, steps)
    for name, value in after.items():
        expected = reference.adam(start[name].double(), [step[name].double() for step in steps], 0.01)
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("which", ["parameter", "gradient", "both"])
def test_memory_layout_makes_no_difference(which: str) -> None:
    """Gradients of convolutions come channels-last, whatever the layout of the weight."""
    steps, moved = gradients(3), leaves()
    expected = run(Optimisation(0.01), leaves(), steps)
    if which != "gradient":
        moved["a"] = moved["a"].detach().to(memory_format=torch.channels_last).requires_grad_()
    if which != "parameter":
        steps = [{**step, "a": step["a"].to(memory_format=torch.channels_last)} for step in steps]
    after = run(Optimisation(0.01), moved, steps)
    for name, value in after.items():
        torch.testing.assert_close(value, expected[name])


def test_cosine_schedule_goes_from_the_learning_rate_to_zero() -> None:
    optimisation, seen = Optimisation(0.1), []
    descent = begin(optimisation, {"all": leaves()}, 8)
    for step in gradients(8):
        seen.append(descent.adam.param_groups[0]["lr"])
        descent.step(step)
    assert seen == pytest.approx([0.05 * (1 + math.cos(math.pi * n / 8)) for n in range(8)])
    assert descent.adam.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)
    assert begin(optimisation, {"all": leaves()}, 8).adam.param_groups[0]["lr"] == 0.1


def test_groups_learn_at_rates_of_their_own() -> None:
    groups = {group: {f"{group}.{name}": leaf for name, leaf in leaves().items()} for group in ("task", "shared")}
    parameters, steps = groups["task"] | groups["shared"], 4
    start = copies(parameters)
    pushes = [{name: push[name.partition(".")[2]] for name in parameters} for push in gradients(steps)]
    optimisation = Optimisation(0.01, "constant", rates={"task": 0.1, "trunk": 7.0})
    descent = begin(optimisation, {**groups, "trunk": {}}, steps)
    assert list(descent.leaves) == list(parameters)
    for push in pushes:
        descent.step(push)
    for name, value in parameters.items():
        rate = 0.1 if name.startswith("task.") else 0.01
        expected = reference.adam(start[name].double(), [push[name].double() for push in pushes], rate)
        torch.testing.assert_close(value.detach().double(), expected, rtol=1e-5, atol=1e-6)


def test_a_rate_of_a_group_that_is_not_there() -> None:
    with pytest.raises(ConfigError) as caught:
        begin(Optimisation(rates={"tasks": 0.1}), {"shared": leaves(), "task": {}}, 1)
    assert str(caught.value) == (
        "unknown group of parameters with a learning rate 'tasks': required one of shared, task; found 'tasks'. "
        "Did you mean 'task'?"
    )


def test_the_schedule_scales_every_rate_and_the_factor_those_that_are_not_told() -> None:
    groups = {"shared": {"b": leaves()["b"]}, "task": {"a": leaves()["a"]}}
    descent = begin(Optimisation(0.1, rates={"task": 0.4}), groups, 2, factor=0.5)
    descent.step(gradients(1)[0])
    assert [group["lr"] for group in descent.adam.param_groups] == pytest.approx([0.025, 0.2])


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan])
def test_a_rate_of_a_part_that_is_not_above_0(rate: float) -> None:
    with pytest.raises(ConfigError, match=r"learning rate: required a number above 0; found"):
        Optimisation(0.1, rates={"a": rate})


def test_constant_schedule_is_constant() -> None:
    descent = begin(Optimisation(0.1, "constant"), {"all": leaves()}, 2)
    for step in gradients(2):
        descent.step(step)
        assert descent.adam.param_groups[0]["lr"] == 0.1


def test_a_recipe_does_not_change() -> None:
    optimisation = Optimisation(0.1)
    with pytest.raises(FrozenInstanceError):
        optimisation.lr = 1.0  # type: ignore[misc]


def test_fresh_state_forgets_the_moments_and_kept_state_does_not() -> None:
    nothing = [{name: torch.zeros_like(leaf) for name, leaf in leaves().items()}]
    for state, moves in (("fresh", False), ("kept", True)):
        parameters, moments = leaves(), BufferDict()
        optimisation = Optimisation(0.01, "constant", "kept" if state == "kept" else "fresh")
        before = run(optimisation, parameters, gradients(3), moments)
        after = run(optimisation, parameters, nothing, moments)
        assert torch.equal(before["b"], after["b"]) is not moves
        assert bool(moments) is moves


def test_kept_state_is_as_if_there_had_been_one_experience() -> None:
    steps, parameters, moments = gradients(5), leaves(), BufferDict()
    optimisation = Optimisation(0.01, "constant", "kept")
    whole = run(optimisation, leaves(), steps)
    run(optimisation, parameters, steps[:2], moments)
    assert_same_tensors(whole, run(optimisation, parameters, steps[2:], moments))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_restored_moments_go_on_as_the_originals(layout: torch.memory_format) -> None:
    """A file keeps numbers, not memory layouts."""
    steps, parameters = gradients(5), leaves()
    parameters["a"] = parameters["a"].detach().to(memory_format=layout).requires_grad_()
    optimisation, moments, restored = Optimisation(0.01, "constant", "kept"), BufferDict(), BufferDict()
    run(optimisation, parameters, steps[:2], moments)
    restored.load_state_dict({name: value.contiguous() for name, value in moments.items()})
    other = {
        name: leaf.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        for name, leaf in parameters.items()
    }
    assert_same_tensors(
        run(optimisation, parameters, steps[2:], moments), run(optimisation, other, steps[2:], restored)
    )


def test_moments_of_what_learns_in_no_later_experience_are_not_kept() -> None:
    moments = BufferDict()
    descent = Optimisation(0.01, "constant", "kept").begin({"all": leaves()}, 2, moments, own=["b"])
    descent.step(gradients(1)[0])
    assert {"b:exp_avg", "b:step"} <= set(descent.state())  # until it ends
    descent.end()
    assert set(moments) == {"a:exp_avg", "a:exp_avg_sq", "a:step"}


def test_moments_of_a_parameter_that_changed_its_shape_are_dropped() -> None:
    optimisation, moments = Optimisation(0.01, "constant", "kept"), BufferDict()
    run(optimisation, leaves(), gradients(2), moments)
    grown = {"b": torch.zeros(7).requires_grad_()}
    begin(optimisation, {"all": grown}, 1, moments).step({"b": torch.zeros(7)})
    assert not grown["b"].any()


@pytest.mark.parametrize("state", ["fresh", "kept"])
def test_parameters_that_the_loss_does_not_reach_stay(state: Literal["fresh", "kept"]) -> None:
    parameters = leaves()
    before = copies(parameters)
    begin(Optimisation(0.1, "constant", state), {"all": parameters}, 1).descend(parameters["b"].square().sum())
    assert torch.equal(parameters["a"], before["a"])
    assert not torch.equal(parameters["b"], before["b"])
    assert parameters["a"].grad is None
    assert parameters["b"].grad is None
