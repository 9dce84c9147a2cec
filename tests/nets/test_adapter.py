from __future__ import annotations

import pytest
import torch
from torch import nn

from hypertail.errors import ConfigError
from hypertail.hyper import ChannelHead, Hypernetwork, Penalty, direct_penalty
from hypertail.nets.adapter import TaskAdapters, shaped
from support.asserts import assert_same_tensors

SHAPES = {"conv.weight": (6, 4, 3, 3), "wide.weight": (5, 7), "norm.weight": (6,), "head.weight": (3, 5)}


def learned(adapter_rank: int = 2, tasks: int = 3) -> Hypernetwork:
    """A hypernetwork in float64 all of whose adapters add something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hyper = Hypernetwork(SHAPES, tasks, adapter_rank=adapter_rank, classifier="head.weight").double()
        for task in range(tasks):
            hyper.begin_task(task, "fresh", torch.Generator().manual_seed(task))
            for own in hyper.task_adapters().values():
                nn.init.normal_(own.outputs[task])
    return hyper


def test_a_task_starts_with_nothing_added() -> None:
    hyper, plain = learned(), learned(adapter_rank=0)
    hyper.begin_task(1, "copied", torch.Generator())
    for own in hyper.task_adapters().values():
        assert not own(1).any()
        assert own.inputs[1].any()
        assert own.filters[1].any()
    assert plain.task_adapters() == {}
    assert plain(0).keys() == hyper(0).keys()


@pytest.mark.parametrize("task", range(3))
def test_the_residual_is_added_component_by_component(task: int) -> None:
    hyper = learned()
    own = hyper.task_adapters()["conv.weight"]
    added = hyper(task)["conv.weight"].clone()
    with torch.no_grad():
        own.outputs[task].zero_()
    added -= hyper(task)["conv.weight"]
    own = learned().task_adapters()["conv.weight"]
    expected = torch.zeros(6, 4, 9, dtype=torch.float64)
    for c in range(2):
        for o in range(6):
            for i in range(4):
                for t in range(9):
                    expected[o, i, t] += own.outputs[task][o, c] * own.inputs[task][c, i] * own.filters[task][c, t]
    torch.testing.assert_close(added, expected.view(6, 4, 3, 3))


def test_it_is_a_branch_of_three_convolutions() -> None:
    hyper = learned()
    own, images = hyper.task_adapters()["conv.weight"], torch.randn(2, 4, 5, 5, dtype=torch.float64)
    rows = hyper.separable_heads()["conv.weight"].shape_rows(own(0))
    branch = nn.functional.conv2d(images, own.inputs[0][:, :, None, None])
    branch = nn.functional.conv2d(branch, own.filters[0].view(2, 1, 3, 3), padding=1, groups=2)
    branch = nn.functional.conv2d(branch, own.outputs[0][:, :, None, None])
    torch.testing.assert_close(nn.functional.conv2d(images, rows, padding=1), branch)


@pytest.mark.parametrize("shape", [(4, 3, 5), (4, 3, 5, 5), (4, 3, 2, 2, 2), (4, 3)])
def test_added_weights_have_their_rank_whatever_the_dimensions(shape: tuple[int, ...]) -> None:
    """Kernel positions and input channels were mixed up in convolutions of one and of three dimensions."""
    own = TaskAdapters(shape, tasks=1, rank=1)
    own.begin(0, torch.Generator().manual_seed(0))
    torch.nn.init.normal_(own.outputs[0], generator=torch.Generator().manual_seed(1))
    twin = torch.einsum("oc,ct,ci->oit", own.outputs[0], own.filters[0], own.inputs[0]).detach().view(shape)
    weight = ChannelHead(shape, 8, 2).shape_rows(own(0)).detach()
    torch.testing.assert_close(weight, twin)
    assert int(torch.linalg.matrix_rank(weight[0].flatten(1) if len(shape) > 2 else weight)) == 1
    assert torch.equal(weight, shaped(own(0), shape))


def test_only_channel_wise_heads_have_one() -> None:
    assert set(learned().task_adapters()) == {"conv.weight", "wide.weight"}


def test_parameters_of_one_task() -> None:
    own = TaskAdapters((160, 80, 3, 3), tasks=4, rank=16)
    assert sum(p.numel() for p in own.parameters()) == 4 * 16 * (160 + 80 + 9)


def test_steps_on_a_task_leave_the_residuals_of_others() -> None:
    hyper = learned()
    names = {name for name in hyper.trainable(1) if name.startswith("adapters.")}
    assert {name.rpartition(".")[2] for name in names} == {"1"}
    assert len(names) == 2 * 3
    kept = hyper.trainable(1, all_rows=True)
    assert {name for name in kept if name.startswith("adapters.")} == names


def test_the_penalty_does_not_see_the_residual_of_the_task_being_learned() -> None:
    hyper = learned()
    penalty = Penalty(hyper, [0, 1])
    with torch.no_grad():
        for own in hyper.task_adapters().values():
            own.outputs[2].normal_()
        next(iter(hyper.separable_heads().values())).linear.bias.add_(0.1)
    snapshot = penalty.snapshot
    torch.testing.assert_close(penalty(hyper), direct_penalty(snapshot, hyper, [0, 1]))


def test_one_weight_set_per_sample_adds_them_too() -> None:
    hyper = learned()
    assert hyper.task_adapters()
    sets = hyper.per_sample(torch.tensor([2, 0]))
    for row, task in enumerate((2, 0)):
        for name, weight in hyper(task).items():
            torch.testing.assert_close(sets[name][row], weight)


def test_growing_changes_no_existing_task() -> None:
    hyper = learned()
    before = [hyper(task) for task in range(3)]
    hyper.grow(5)
    for task, weights in enumerate(before):
        assert_same_tensors(weights, hyper(task))
    hyper.begin_task(4, "fresh", torch.Generator().manual_seed(0))
    assert hyper.task_adapters()["conv.weight"].inputs[4].any()
    assert hyper.task_adapters()["conv.weight"].outputs[4].dtype == torch.float64


def test_a_negative_rank() -> None:
    for name in ("adapter_rank", "classifier_rank"):
        with pytest.raises(ConfigError) as error:
            Hypernetwork(SHAPES, 2, **{name: -1})  # type: ignore[arg-type]
        assert "the other ranks of at least 0" in error.value.required
        assert f"{name}=-1" in error.value.found


def test_a_task_adds_to_its_classifier_alone() -> None:
    shapes = {"classifier.weight": (5, 16), "classifier.bias": (5,)}
    hyper = Hypernetwork(shapes, 2, classifier_rank=2, classifier="classifier.weight")
    for task in range(2):
        hyper.begin_task(task, "fresh", torch.Generator().manual_seed(task))
    before = [hyper(task)["classifier.weight"].detach().clone() for task in range(2)]
    adapters = hyper.task_adapters()["classifier.weight"]
    with torch.no_grad():
        adapters.outputs[0].normal_(generator=torch.Generator().manual_seed(3))
    change = hyper(0)["classifier.weight"].detach() - before[0]
    twin = torch.einsum("oc,ct,ci->oi", adapters.outputs[0], adapters.filters[0], adapters.inputs[0]).detach()
    torch.testing.assert_close(change, twin)
    assert int(torch.linalg.matrix_rank(change)) == 2
    assert torch.equal(hyper(1)["classifier.weight"], before[1])
    assert not [name for name in hyper.trainable(1) if name.startswith("adapters") and name.endswith(".0")]
