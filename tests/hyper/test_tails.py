from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hypertail.errors import ConfigError
from hypertail.hyper import Curvature, PartialHypernetwork, check_tail
from hypertail.hyper.lookahead import LookAhead
from hypertail.strategies import Optimisation, Pace, PartialHypernet, Task, Trunk
from support.tiny import hypernetwork

WIDTH = 6


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


class Owner(nn.Module):
    """A parameter of its own, added to what comes in."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.own = nn.Parameter(torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.own


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attention(x, x, x, need_weights=False)[0]  # type: ignore[no-any-return]


class Positions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table(torch.arange(x.shape[1]))  # type: ignore[no-any-return]


class Output(nn.Module):
    """The output of a recurrent layer without its state."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(WIDTH, WIDTH, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0]  # type: ignore[no-any-return]


class Branches(nn.Module):
    """One layer that is called twice, one beside the way to the logits, and one that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.beside, self.never = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        self.kept = self.beside(x)
        return self.twice(torch.tanh(self.twice(x)))  # type: ignore[no-any-return]


def tokens(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers, Mean(), nn.Linear(WIDTH, 3))


def maps(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, 3))


def twice_registered() -> nn.Sequential:
    linear = nn.Linear(WIDTH, WIDTH)
    return tokens(linear, nn.Tanh(), linear)


ALWAYS: dict[str, Callable[[], nn.Sequential]] = {
    "linear layers over tokens": lambda: tokens(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH)),
    "layer norm": lambda: tokens(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)),
    "rms norm": lambda: tokens(nn.RMSNorm(WIDTH), nn.Linear(WIDTH, WIDTH)),
    "batch norm over tokens": lambda: tokens(nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, WIDTH)),
    "prelu": lambda: tokens(nn.Linear(WIDTH, WIDTH), nn.PReLU()),
    "vector of an unknown module": lambda: tokens(Owner(WIDTH), nn.Linear(WIDTH, WIDTH)),
    "scalar of an unknown module": lambda: tokens(Owner(), nn.Linear(WIDTH, WIDTH)),
    "module registered twice": twice_registered,
    "branches": lambda: tokens(Branches()),
    "convolution": lambda: maps(nn.Conv2d(WIDTH, WIDTH, 3), nn.BatchNorm2d(WIDTH), nn.ReLU(inplace=True)),
    "convolution, padding same": lambda: maps(nn.Conv2d(WIDTH, WIDTH, 3, padding="same")),
    "convolution, circular": lambda: maps(nn.Conv2d(WIDTH, WIDTH, 3, padding=1, padding_mode="circular")),
    "group norm": lambda: maps(nn.Conv2d(WIDTH, WIDTH, 3), nn.GroupNorm(2, WIDTH)),
    "instance norm": lambda: maps(nn.Conv2d(WIDTH, WIDTH, 3), nn.InstanceNorm2d(WIDTH, affine=True)),
    "dropout": lambda: maps(nn.Conv2d(WIDTH, WIDTH, 3), nn.Dropout2d(0.5)),
    "convolution as classifier": lambda: nn.Sequential(
        nn.Conv2d(WIDTH, WIDTH, 1), nn.Conv2d(WIDTH, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ),
}
PLAIN: dict[str, tuple[Callable[[], nn.Sequential], str, str]] = {
    "transformer": (
        lambda: tokens(nn.TransformerEncoderLayer(WIDTH, 2, 8, dropout=0.0, batch_first=True)),
        "0.self_attn.in_proj_weight' of MultiheadAttention",
        "a part of nn.MultiheadAttention",
    ),
    "attention": (
        lambda: tokens(Attention()),
        "0.attention.in_proj_weight' of MultiheadAttention",
        "a part of nn.MultiheadAttention",
    ),
    "grouped": (lambda: maps(nn.Conv2d(WIDTH, WIDTH, 3, groups=2)), "0.weight' of Conv2d", "groups=2"),
    "depthwise": (lambda: maps(nn.Conv2d(WIDTH, WIDTH, 3, groups=WIDTH)), "0.weight' of Conv2d", "groups=6"),
    "conv1d": (lambda: tokens(nn.Conv1d(WIDTH, WIDTH, 1)), "0.weight' of Conv1d", "a parameter of Conv1d"),
    "transposed": (
        lambda: maps(nn.ConvTranspose2d(WIDTH, WIDTH, 3)),
        "0.weight' of ConvTranspose2d",
        "a parameter of ConvTranspose2d",
    ),
    "conv3d": (
        lambda: maps(nn.Unflatten(1, (WIDTH, 1)), nn.Conv3d(WIDTH, WIDTH, (1, 3, 3)), nn.Flatten(1, 2)),
        "1.weight' of Conv3d",
        "a parameter of Conv3d",
    ),
    "embedding": (lambda: tokens(Positions()), "0.table.weight' of Embedding", "a parameter of Embedding"),
    "recurrent": (lambda: tokens(Output()), "0.layer.weight_ih_l0' of GRU", "a parameter of GRU"),
    "matrix of an unknown module": (lambda: tokens(Owner(WIDTH, WIDTH)), "0.own' of Owner", "a parameter of Owner"),
}


def build(tail: nn.Module, *, curvature: bool, lookahead: LookAhead = "none") -> PartialHypernet:
    trunk, hyper = Trunk(nn.Sequential(), learns=False), hypernetwork(tail)
    weighed = Curvature() if curvature else None
    return PartialHypernet(
        trunk,
        tail,
        hyper,
        Optimisation(1e-2),
        penalty_weight=0.5,
        output=None,
        curvature=weighed,
        pace=Pace(),
        lookahead=lookahead,
    )


def learn_three(strategy: PartialHypernet, *, maps: bool) -> None:
    for task in range(3):
        random = torch.Generator().manual_seed(task)
        x = torch.randn((8, WIDTH, WIDTH, WIDTH) if maps else (8, WIDTH, WIDTH), generator=random)
        y = torch.arange(8) % 3
        seen = Task(task, 3, 2, lambda x=x, y=y: (x, y))  # type: ignore[misc]
        lesson = strategy.begin(seen)
        for _ in range(2):
            assert lesson.step(x, y).isfinite()
        lesson.end()
    with torch.no_grad():
        before = strategy.predict(x, 1)
        torch.testing.assert_close(strategy.net.materialize(1)(x), before, rtol=1e-4, atol=1e-5)
        for parameter in strategy.net.tail.parameters():
            parameter.fill_(torch.nan)
        assert torch.equal(strategy.predict(x, 1), before), "a parameter of the tail's own was used"


def on_maps(tail: nn.Module) -> bool:
    return any(isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Conv3d) for layer in tail.modules())


@pytest.mark.parametrize("lookahead", ["none", "first", "second"])
@pytest.mark.parametrize("curvature", [False, True], ids=["plain", "curvature"])
@pytest.mark.parametrize("name", ALWAYS)
def test_what_is_accepted_learns_three_tasks(name: str, curvature: bool, lookahead: LookAhead) -> None:
    """case 31."""
    tail = ALWAYS[name]()
    learn_three(build(tail, curvature=curvature, lookahead=lookahead), maps=on_maps(tail))


@pytest.mark.parametrize("name", PLAIN)
def test_what_curvature_cannot_weigh_is_refused_when_built_and_learns_three_tasks_without(name: str) -> None:
    """case 31: the second task died in `begin`, when the images of the first were gone."""
    make, parameter, found = PLAIN[name]
    with pytest.raises(ConfigError) as caught:
        build(make(), curvature=True)
    assert str(caught.value) == (
        f"tail parameter '{parameter}: required weights of nn.Conv2d with groups=1 or of nn.Linear (and scales, shifts "
        f"and other vectors of any layer); found {found}. Put the layer into the trunk (cut later), or do without the "
        "curvature-weighed penalty (curvature=None)."
    )
    tail = make()
    learn_three(build(tail, curvature=False), maps=on_maps(tail))


def test_attention_cannot_be_differentiated_twice() -> None:
    """case 31: the second task died in its first step."""
    with pytest.raises(ConfigError) as caught:
        build(tokens(Attention()), curvature=False, lookahead="second")
    assert str(caught.value) == (
        "tail parameter '0.attention.in_proj_weight' of MultiheadAttention: required layers that can be differentiated "
        "twice, for second-order look-ahead; found a part of nn.MultiheadAttention. "
        "Use first-order look-ahead (lookahead='first'), or put the layer into the trunk."
    )
    learn_three(build(tokens(Attention()), curvature=False, lookahead="first"), maps=False)


def test_a_parameter_of_two_modules_is_refused() -> None:
    """case 31: the second module used the tail's own, never learned, without a word."""
    tail = tokens(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH))
    tail[2].weight = tail[0].weight
    with pytest.raises(ConfigError) as caught:
        PartialHypernetwork(nn.Sequential(), tail, hypernetwork(tail))
    assert str(caught.value) == (
        "tail parameter '2.weight' of Linear: required a parameter of one module alone; found the same parameter as "
        "'0.weight'. Use one module in both places, or give each its own parameter."
    )


def test_normalisation_with_a_scale_for_each_position_is_refused() -> None:
    """case 31: its scales would start as random numbers around zero."""
    with pytest.raises(ConfigError) as caught:
        check_tail(tokens(nn.LayerNorm([WIDTH, WIDTH])))
    assert str(caught.value) == (
        "tail parameter '0.weight' of LayerNorm: required normalisation with one scale and shift for each channel; "
        "found a scale of shape (6, 6). Normalise over the channels alone, or put the layer into the trunk."
    )


def test_a_lazy_layer_is_refused() -> None:
    """case 31."""
    with pytest.raises(ConfigError) as caught:
        check_tail(nn.Sequential(nn.LazyLinear(3)))
    assert str(caught.value) == (
        "tail parameter '0.weight' of LazyLinear: required a shape that is known; found a lazy parameter. "
        "Run the model on one batch before it is cut."
    )


def test_a_classifier_that_is_no_linear_layer_is_refused_and_the_last_linear_layer_is_found() -> None:
    """case 31: the last matrix was taken for it, whatever it was."""
    tail = nn.Sequential(nn.Linear(WIDTH, 3), Owner(1, 3))
    with pytest.raises(ConfigError) as caught:
        PartialHypernetwork(nn.Sequential(), tail, hypernetwork(tail, classifier="1.own"))
    assert str(caught.value) == (
        "classifier '1.own' of the tail: required the weight of the nn.Linear that gives the logits; found a parameter "
        "of Owner. Name it: Hypernetwork.for_tail(tail, tasks, classifier='head.weight')."
    )
    net = PartialHypernetwork(nn.Sequential(), tail, hypernetwork(tail))
    net.begin_task(0, 3)
    assert net(torch.zeros(2, WIDTH), 0).shape == (2, 3)


def test_a_tail_without_a_classifier_is_never_cropped() -> None:
    """Its outputs are what its last layer gives, whatever the number of classes."""
    tail = nn.Sequential(nn.Conv2d(WIDTH, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net = PartialHypernetwork(nn.Sequential(), tail, hypernetwork(tail))
    assert net.width is None
    net.begin_task(0, 2)
    images = torch.randn(3, WIDTH, 5, 5, generator=torch.Generator().manual_seed(0))
    assert net(images, 0).shape == (3, 4)
    torch.testing.assert_close(net.materialize(0)(images), net(images, 0))


def test_a_layer_called_twice_is_weighed_by_both_calls() -> None:
    """case 30: factors were those of the last call alone."""
    tail = tokens(Branches()).double()
    net = PartialHypernetwork(nn.Sequential(), tail, hypernetwork(tail).double())
    net.begin_task(0, 3)
    x = torch.randn(5, 4, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    curvature = Curvature()
    curvature.update(net, 0, x, torch.Generator().manual_seed(9))
    weights = net.weights(0)
    inner = torch.tanh(x @ weights["0.twice.weight"].T + weights["0.twice.bias"])
    rows = torch.cat((x.flatten(0, 1), inner.flatten(0, 1))).detach()
    torch.testing.assert_close(curvature.inputs["0.twice.weight"], rows.T @ rows / len(rows))
    assert not curvature.outputs["0.beside.weight"].any()
    assert "0.never.weight" not in curvature.inputs
