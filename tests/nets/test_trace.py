"""Any module cut at a named module: the same function to the bit, or a refusal that says what would work."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from hypertail.errors import ConfigError
from hypertail.nets import decompose
from hypertail.nets.body import without_classifier
from hypertail.nets.trace import cut_names
from support.banks import SIZE, resnet, transformer
from support.errors import refused

PROBE = torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


class Sequence1d(nn.Module):
    """Rows of an image as a signal."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(3 * SIZE, 8, 3), nn.Conv1d(8, 8, 3, groups=2)
        self.norm, self.head = nn.GroupNorm(2, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x.flatten(1, 2)))
        return self.head(F.relu(self.norm(self.second(x))).mean(-1))


class Depthwise(nn.Module):
    """A separable convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.deep, self.point = nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 12, 1)
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.point(self.deep(self.stem(x)))).flatten(1))


class InPlace(nn.Module):
    """What comes after the cut works in place on what crosses it."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.stem, self.relu, self.head = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if self.how == "module":
            x = self.relu(x)
        elif self.how == "view":
            x = self.relu(x.flatten(2)).unflatten(2, (10, 10))
        else:
            x = self.relu(x)
            x += 1
        return self.head(x.mean((2, 3)))


CUTS = {
    "resnet": (resnet, "layer2"),
    "block": (resnet, "layer2.1"),
    "transformer": (transformer, "blocks.1"),
    "norm": (transformer, "norm"),
    "conv1d": (Sequence1d, "second"),
    "depthwise": (Depthwise, "deep"),
    "in place": (lambda: InPlace("module"), "relu"),
    "in place on a view": (lambda: InPlace("view"), "relu"),
    "added in place": (lambda: InPlace("add"), "relu"),
}


@pytest.mark.parametrize("name", CUTS)
def test_trunk_and_tail_are_the_model(name: str) -> None:
    make, cut = CUTS[name]
    model = make().eval()
    trunk, tail = decompose(model, cut=cut, probe=PROBE)
    features = trunk(PROBE)
    kept = features.clone()
    assert torch.equal(tail(features), model(PROBE))
    assert torch.equal(features, kept), "the tail must leave its input as it is"
    names = set(dict(model.named_parameters()))
    halves = set(dict(trunk.named_parameters())) | set(dict(tail.named_parameters()))
    assert halves == names
    assert all(value is dict(model.named_parameters())[name] for name, value in tail.named_parameters())


@pytest.mark.parametrize("name", CUTS)
def test_a_body_takes_other_weights_and_is_exported(name: str) -> None:
    make, cut = CUTS[name]
    model = make().eval()
    trunk, tail = decompose(model, cut=cut)
    features = trunk(PROBE)
    body, layer = without_classifier(tail, features)
    assert layer is not None
    assert torch.equal(layer(body(features.clone())), model(PROBE))
    other = {name: value + 0.1 for name, value in body.named_parameters()}
    moved = functional_call(body, other, (features.clone(),))
    assert moved.shape == body(features.clone()).shape
    if other:
        assert not torch.equal(moved, body(features.clone()))
    whole = nn.Sequential(trunk, copy.deepcopy(body)).eval()
    exported = torch.export.export(whole, (PROBE,)).module()
    torch.testing.assert_close(exported(PROBE), whole(PROBE))


def test_modes_are_followed() -> None:
    class Dropping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.drop, self.head = nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.head(F.dropout(self.drop(x), 0.5, self.training))

    model = Dropping().train()
    _, tail = decompose(model, cut="drop")
    assert model.training
    assert not hasattr(model, "traced_dropout_dropout")
    x = torch.randn(64, 8)
    assert torch.equal(tail(x), tail(x))
    tail.train()
    assert not torch.equal(tail(x), tail(x))


def test_names_that_work_all_work() -> None:
    model = resnet()
    names = cut_names(model)
    assert names == ["bn1", "layer1", "layer2", "layer2.1", "linear"]
    for name in names:
        decompose(model, cut=name, probe=PROBE)


def test_refusals_say_what_would_work() -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x)
            return self.head((self.c(self.b(x)) + x).mean((2, 3)))

    with refused(ConfigError, problem="'c'", found=("2", "in 'a'", "in 'b'"), hint=("b, head", "trunk and a tail")):
        decompose(Skip(), cut="c")
    with refused(ConfigError, problem="'a'", found="own input"):
        decompose(Skip(), cut="a")
    with refused(ConfigError, problem="no module 'layr2'", hint="layer2"):
        decompose(resnet(), cut="layr2")

    class Unused(Skip):
        def __init__(self) -> None:
            super().__init__()
            self.spare = nn.Conv2d(4, 4, 3)

    with refused(ConfigError, problem="'spare'", found="never calls"):
        decompose(Unused(), cut="spare")


def test_models_that_cannot_be_traced() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x)) if x.sum() > 0 else self.a(x)

    with refused(ConfigError, problem="Branches", found="control flow", hint="model=trunk, tail=tail"):
        decompose(Branches(), cut="b")

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"logits": self.b(self.a(x))}

    with refused(ConfigError, problem="output", required="one tensor", found="dict"):
        decompose(Two(), cut="b")


def test_a_shared_layer_is_refused() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(self.b(self.a(x)))

    with refused(ConfigError, problem="share"):
        decompose(Tied(), cut="b")


def test_a_tail_that_gives_no_vector_is_refused() -> None:
    with refused(ConfigError, problem="output of the tail", found="(2, 4, 3, 3)", hint="pooling"):
        without_classifier(nn.Conv2d(3, 4, 3), torch.zeros(2, 3, 5, 5))
    body, layer = without_classifier(nn.Sequential(nn.Flatten(), nn.LayerNorm(12)), torch.rand(2, 3, 2, 2))
    assert layer is None
    assert body(torch.rand(2, 3, 2, 2)).shape == (2, 12)
