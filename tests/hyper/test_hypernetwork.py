from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

from hypertail.errors import ConfigError
from hypertail.hyper import ChannelHead, Hypernetwork, LinearHead, Penalty, direct_penalty
from hypertail.hyper.heads import CodeName
from hypertail.nets import decompose, slim_resnet18
from support import reference
from support.asserts import (
    assert_every_learning_parameter_gets_gradient,
    assert_generated_matches_tail,
    assert_same_tensors,
    state_of,
)
from support.tiny import BACKBONES, DEPTHS, backbone, hypernetwork, shapes_of

CODES: tuple[CodeName, ...] = ("additive", "product")
HN_5 = {0: 769_377, 1: 713_622, 2: 616_022, 3: 420_822, 4: 30_422}
HN_100 = {0: 1_272_877, 1: 1_217_122, 2: 1_119_522, 3: 924_322, 4: 533_922}
TABLE_3 = {4: 451_661, 8: 496_489, 16: 586_145, 32: 765_457, 64: 1_124_081}


def size(depth: int, tasks: int, classes: int, **options: int) -> int:
    _, tail = decompose(slim_resnet18(classes), depth)
    return sum(p.numel() for p in Hypernetwork.for_tail(tail, tasks, **options).parameters())


@pytest.mark.parametrize("depth", DEPTHS)
def test_parameter_counts_of_table_6(depth: int) -> None:
    assert size(depth, 20, 100, rank=32) == HN_100[depth] == reference.hypernetwork_size(depth, 20, 100)
    assert size(depth, 20, 5, rank=32) == HN_5[depth] == reference.hypernetwork_size(depth, 20, 5)
    assert size(depth, 10, 10, rank=32) == reference.hypernetwork_size(depth, 10, 10)


@pytest.mark.parametrize(("rank", "count"), TABLE_3.items())
def test_parameter_counts_of_table_3(rank: int, count: int) -> None:
    assert size(0, 10, 10, rank=rank) == count == reference.hypernetwork_size(0, 10, 10, rank=rank)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("net", BACKBONES)
def test_generated_names_and_shapes_match_the_tail(net: str, depth: int, code: CodeName) -> None:
    _, tail = decompose(backbone(net), depth)
    assert_generated_matches_tail(hypernetwork(tail, code=code), tail)


def test_heads_follow_from_shapes() -> None:
    hyper = hypernetwork(decompose(backbone("mlp"), 0)[1])
    kinds = {name: type(head) for name, head in hyper.separable_heads().items()}
    assert hyper.classifier == "head.weight"
    assert kinds.pop("head.weight") is LinearHead
    assert set(kinds.values()) == {ChannelHead}
    assert set(hyper.task_tables()) == {name for name, shape in hyper.shapes.items() if len(shape) == 1}


def test_one_dimensional_parameters_start_from_those_of_the_tail() -> None:
    """Scales and shifts of normalisation from their own values; biases beside generated weights from zero."""
    _, tail = decompose(backbone("mlp"), 0)
    hyper, values = hypernetwork(tail), dict(tail.named_parameters())
    generated, seen = hyper(1), set()
    for name in hyper.task_tables():
        layer = tail.get_submodule(name.rpartition(".")[0])
        zero = isinstance(layer, nn.Linear)
        seen.add(type(layer))
        assert torch.equal(generated[name], torch.zeros_like(values[name]) if zero else values[name]), name
        assert zero or name.endswith("bias") or values[name].any()
    assert {nn.Linear, nn.BatchNorm1d, nn.LayerNorm} <= seen


def test_tables_of_a_fresh_resnet_start_as_identity() -> None:
    _, tail = decompose(slim_resnet18(5), 2)
    generated = hypernetwork(tail)(1)
    flat = [name for name, value in generated.items() if value.dim() == 1]
    assert len(flat) > 20
    for name in flat:
        wanted = torch.ones_like if name.endswith("weight") else torch.zeros_like
        assert torch.equal(generated[name], wanted(generated[name])), name


def test_new_rows_start_like_the_first_and_are_no_views_of_the_tail() -> None:
    _, tail = decompose(backbone("resnet"), 3)
    hyper = hypernetwork(tail, tasks=1)
    with torch.no_grad():
        before = {name: table(0).clone() for name, table in hyper.task_tables().items()}
        for parameter in [*tail.parameters(), *hyper.parameters()]:
            parameter.add_(1)
    hyper.grow(2)
    for name, table in hyper.task_tables().items():
        assert torch.equal(table(1), before[name])
    assert not [name for name in hyper.state_dict() if name.endswith("start")]


def test_an_initial_value_of_another_size_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"initial value of 'bias': required 2 numbers; found shape \(3,\)"):
        Hypernetwork({"weight": (2, 3), "bias": (2,)}, 1, initial={"bias": torch.ones(3)})


def test_parameters_are_handed_out_in_two_groups() -> None:
    hyper = hypernetwork(decompose(backbone("cnn"), 2)[1], tasks=3, adapter_rank=1)
    groups = hyper.groups(1)
    assert set(groups) == {"shared", "task"}
    assert {name.partition(".")[0] for name in groups["shared"]} == {"embedding", "mlp", "heads"}
    assert {name.partition(".")[0] for name in groups["task"]} == {"tables", "adapters"}
    assert all(name.endswith(".1") for name in groups["task"])
    assert list(hyper.trainable(1)) == [*groups["shared"], *groups["task"]]
    everything = hyper.trainable(1, all_rows=True)
    assert list(everything) == [name for name, _ in hyper.named_parameters() if name in everything]


def test_adapters_under_their_earlier_name_are_read() -> None:
    first, second = (hypernetwork(decompose(backbone("cnn"), 2)[1], adapter_rank=1, seed=seed) for seed in (0, 1))
    earlier = {name.replace("adapters.", "residuals.", 1): value for name, value in first.state_dict().items()}
    assert earlier.keys() != first.state_dict().keys()
    second.load_state_dict(earlier)
    assert_same_tensors(first.state_dict(), second.state_dict())


@pytest.mark.parametrize("code", CODES)
def test_tasks_generate_different_weights(code: CodeName) -> None:
    hyper = hypernetwork(decompose(backbone("resnet"), 2)[1], code=code)
    first, second = hyper(0), hyper(1)
    for name in hyper.separable_heads():
        assert not torch.allclose(first[name], second[name]), name


@pytest.mark.parametrize("code", CODES)
def test_generated_weights_start_with_he_variance(code: CodeName) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hyper = Hypernetwork.for_tail(decompose(slim_resnet18(5), 2)[1], 20, code=code)
    for name, shape in hyper.shapes.items():
        if len(shape) > 1:
            gain = 1.0 if name == hyper.classifier else math.sqrt(2)
            deviation = torch.stack([hyper(task)[name] for task in range(20)]).detach().std()
            assert float(deviation) == pytest.approx(gain / math.sqrt(math.prod(shape[1:])), rel=0.02), name


def test_library_init_leaves_torch_defaults() -> None:
    shapes = {"conv.weight": (16, 16, 3, 3)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hyper = Hypernetwork(shapes, 5, rank=32, vectors="gaussian", init="library")
    bound = 1 / math.sqrt(32 + 32)
    weight = hyper.separable_heads()["conv.weight"].matrix().detach()
    assert float(weight.abs().max()) == pytest.approx(bound, rel=0.01)
    assert 0.3 < float(hyper(0)["conv.weight"].detach().std()) < 0.55


@pytest.mark.parametrize("code", CODES)
def test_growing_changes_no_existing_task(code: CodeName) -> None:
    hyper = hypernetwork(decompose(backbone("cnn"), 2)[1], tasks=2, code=code)
    before = [hyper(task) for task in range(2)]
    rows = hyper.task_tables()[next(iter(hyper.task_tables()))].rows
    hyper.grow(5)
    hyper.grow(3)
    assert hyper.tasks == 5
    assert len(rows) == 5
    for task, weights in enumerate(before):
        assert_same_tensors(weights, hyper(task))
    assert_generated_matches_tail(hyper, decompose(backbone("cnn"), 2)[1])


def test_growing_equals_room_from_the_start() -> None:
    tail = decompose(backbone("cnn"), 2)[1]
    roomy, grown = hypernetwork(tail, tasks=3, init="library"), hypernetwork(tail, tasks=1, init="library")
    grown.grow(3)
    grown.load_state_dict(roomy.state_dict())
    assert_same_tensors(roomy(2), grown(2))
    assert list(dict(roomy.named_parameters())) == list(dict(grown.named_parameters()))


def test_new_embeddings_are_fresh_or_copied() -> None:
    hyper = hypernetwork(decompose(backbone("cnn"), 4)[1])
    old = hyper.embedding.detach().clone()
    hyper.begin_task(2, "copied", torch.Generator().manual_seed(0), previous=1)
    assert torch.equal(hyper.embedding[2], old[1])
    hyper.begin_task(2, "fresh", torch.Generator().manual_seed(0))
    assert torch.equal(hyper.embedding[2], torch.randn(5, generator=torch.Generator().manual_seed(0)))
    hyper.begin_task(0, "copied", torch.Generator())
    assert torch.equal(hyper.embedding[:2], old[:2])


def test_trainable_parameters_leave_out_the_rows_of_other_tasks() -> None:
    hyper = hypernetwork(decompose(backbone("cnn"), 2)[1], tasks=3)
    everything = dict(hyper.named_parameters())
    own = hyper.trainable(1)
    left_out = set(everything) - set(own)
    assert left_out == {f"tables.{key}.rows.{row}" for key in hyper.tables for row in (0, 2)}
    assert hyper.trainable(1, all_rows=True).keys() == everything.keys()


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("net", BACKBONES)
def test_every_trainable_parameter_gets_a_gradient(net: str, code: CodeName) -> None:
    hyper = hypernetwork(decompose(backbone(net), 0)[1], code=code)
    loss = sum((weight * torch.linspace(-1, 1, weight.numel()).view_as(weight)).sum() for weight in hyper(1).values())
    assert isinstance(loss, torch.Tensor)
    assert_every_learning_parameter_gets_gradient(loss, hyper.trainable(1))


def test_at_stands_other_parameters_in_without_touching_its_own() -> None:
    hyper = hypernetwork(decompose(backbone("cnn"), 2)[1])
    other = hypernetwork(decompose(backbone("cnn"), 2)[1], seed=1)
    before = state_of(hyper)
    weights = hyper.at(dict(other.named_parameters()), lambda h: h(2))
    assert_same_tensors(weights, other(2))
    assert_same_tensors(before, hyper.state_dict())
    only_embedding = hyper.at({"embedding": other.embedding}, lambda h: h.embedding + 0)
    assert torch.equal(only_embedding, other.embedding)


def test_per_sample_weights_are_those_of_each_sample_s_task() -> None:
    hyper = hypernetwork(decompose(backbone("instance"), 3)[1])
    tasks = torch.tensor([2, 0, 2])
    for name, weights in hyper.per_sample(tasks).items():
        expected = torch.stack([hyper(int(task))[name] for task in tasks])
        torch.testing.assert_close(weights, expected)


def test_bare_and_scalar_parameters_are_generated_too() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2, 3))
            self.temperature = nn.Parameter(torch.ones(()))

    assert_generated_matches_tail(hypernetwork(Scaled()), Scaled())


def test_empty_tail() -> None:
    with pytest.raises(ConfigError) as caught:
        Hypernetwork({}, 3)
    assert str(caught.value) == (
        "hypernetwork without outputs: required at least one tail parameter; found an empty tail. "
        "Choose a smaller depth, so that the tail keeps layers with parameters."
    )


@pytest.mark.parametrize(
    ("sizes", "found"),
    [
        ({"tasks": 0}, "tasks=0, embedding=32, mlp=(50, 32), rank=36, adapter_rank=0"),
        ({"tasks": 2, "embedding": 0}, "tasks=2, embedding=0, mlp=(50, 32), rank=36, adapter_rank=0"),
        ({"tasks": 2, "mlp": (50, 0)}, "tasks=2, embedding=32, mlp=(50, 0), rank=36, adapter_rank=0"),
        ({"tasks": 2, "rank": -1}, "tasks=2, embedding=32, mlp=(50, 32), rank=-1, adapter_rank=0"),
    ],
)
def test_sizes_below_one(sizes: dict[str, int], found: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Hypernetwork({"weight": (2, 2)}, **sizes)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "size of the hypernetwork: required tasks, embedding, mlp and rank of at least 1, the other ranks of at least "
        f"0; found {found}, classifier_rank=0. Give positive sizes."
    )


def test_the_classifier_is_the_last_linear_layer_or_named() -> None:
    """case 31: it was guessed as the last matrix."""

    class Tail(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.table = nn.Linear(4, 2), nn.Embedding(4, 4)

    for hyper in (Hypernetwork.for_tail(Tail(), 1), Hypernetwork(shapes_of(Tail()), 1, classifier="head.weight")):
        assert hyper.classifier == "head.weight"
        heads = hyper.separable_heads()
        assert isinstance(heads["head.weight"], LinearHead)
        assert isinstance(heads["table.weight"], ChannelHead)
    assert Hypernetwork(shapes_of(Tail()), 1).classifier is None
    two = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4))
    assert Hypernetwork.for_tail(two, 1).classifier == "1.weight"
    assert Hypernetwork.for_tail(two, 1, classifier="0.weight").classifier == "0.weight"
    assert Hypernetwork.for_tail(nn.Linear(3, 4), 1).classifier == "weight"


@pytest.mark.parametrize("name", ["head.wait", "head.bias"])
def test_a_classifier_that_is_not_there_or_no_matrix(name: str) -> None:
    """case 31."""
    with pytest.raises(ConfigError) as caught:
        Hypernetwork({"head.weight": (2, 4), "head.bias": (2,)}, 1, classifier=name)
    assert str(caught.value) == (
        f"unknown classifier weight '{name}': required one of head.weight; found '{name}'. Did you mean 'head.weight'?"
    )


# --- what is generated is added to a base --------------------------------------------------------------------------


def with_base(net: str = "resnet", depth: int = 3, **options: Any) -> tuple[Hypernetwork, nn.Module]:
    tail = decompose(backbone(net), depth)[1]
    return hypernetwork(tail, base=dict(tail.named_parameters()), adapter_rank=2, **options), tail


def moved(hyper: Hypernetwork) -> Hypernetwork:
    with torch.no_grad():
        for parameter in hyper.groups(2)["shared"].values():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.1)
    return hyper


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("net", BACKBONES)
def test_it_begins_at_the_base(net: str, own: bool) -> None:
    hyper, tail = with_base(net, 1 if net == "mlp" else 2, own_classifier=own)
    hyper.begin_task(1, "fresh", torch.Generator().manual_seed(0))
    weights = hyper(1)
    for name, parameter in tail.named_parameters():
        if not name.startswith((hyper.classifier or "").rpartition(".")[0] + "."):
            assert torch.equal(weights[name], parameter), name
    assert (hyper.classifier in hyper.task_tables()) == own
    if own:
        assert not weights[str(hyper.classifier)].any()


def test_what_is_generated_is_the_base_and_what_it_generates_without() -> None:
    hyper = moved(with_base()[0]).double()
    other = copy.deepcopy(hyper)
    other.base.clear()
    with_, without = hyper(1), other(1)
    for name in hyper.base:
        torch.testing.assert_close(with_[name], hyper.base[name] + without[name])
    for name in hyper.shapes.keys() - hyper.base.keys():
        assert torch.equal(with_[name], without[name])
    assert_same_tensors(hyper(1), {name: value[0] for name, value in hyper.per_sample(torch.tensor([1])).items()})


def test_the_base_is_no_parameter_moves_with_the_module_and_is_loaded_with_it() -> None:
    hyper, tail = with_base()
    kept = {name: value.clone() for name, value in hyper.base.items()}
    assert kept
    assert not {id(value) for value in hyper.base.values()} & {id(p) for p in (*hyper.parameters(), *tail.parameters())}
    other = hypernetwork(tail, base={name: value + 1 for name, value in kept.items()}, adapter_rank=2)
    other.load_state_dict(hyper.state_dict())
    assert_same_tensors(dict(other.base.items()), kept)
    for first, second in ((hyper, hypernetwork(tail, adapter_rank=2)), (hypernetwork(tail, adapter_rank=2), hyper)):
        with pytest.raises(RuntimeError, match=r"base\."):
            second.load_state_dict(first.state_dict())


def test_the_penalty_does_not_see_the_base() -> None:
    with_ = with_base(own_classifier=True)[0]
    without = copy.deepcopy(with_)
    without.base.clear()
    costs = []
    for hyper in (with_.double(), without.double()):
        penalty, snapshot = Penalty(hyper, [0, 1]), copy.deepcopy(hyper)
        moved(hyper)
        costs.append(penalty(hyper))
        torch.testing.assert_close(costs[-1], direct_penalty(snapshot, hyper, [0, 1], "sum"))
    torch.testing.assert_close(costs[0], costs[1])
    assert costs[0] > 0


def test_a_base_of_another_shape_and_a_tail_without_anything_to_generate_are_refused() -> None:
    tail = decompose(backbone("resnet"), 3)[1]
    base = {name: value[:1] for name, value in tail.named_parameters()}
    with pytest.raises(ConfigError, match=r"base of 'block4.*required shape .*found shape"):
        hypernetwork(tail, base=base)
    with pytest.raises(ConfigError, match="a classifier alone"):
        hypernetwork(decompose(backbone("resnet"), 4)[1], own_classifier=True)
