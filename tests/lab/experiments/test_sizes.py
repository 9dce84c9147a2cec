"""Exact counts (Tables 3 and 6), bytes, and sizes that make no sense."""

from __future__ import annotations

import json

import pytest
import torch

from hypertail.errors import ConfigError
from hypertail.lab.experiments.sizes import describe
from hypertail.nets import decompose, slim_resnet18
from hypertail.recipes.catalogue import usual_options

PUBLISHED = {100: (1272877, 1217122, 1119522, 924322, 533922), 5: (769377, 713622, 616022, 420822, 30422)}


@pytest.mark.parametrize("preset", ["printed", "released"])
@pytest.mark.parametrize("depth", range(5))
@pytest.mark.parametrize("classes", PUBLISHED)
def test_hypernetwork_parameters(classes: int, depth: int, preset: str) -> None:
    info = describe(depth, tasks=20, classes=classes, options=usual_options("hn", preset))
    assert info.hypernetwork_parameters == PUBLISHED[classes][depth]
    assert info.hypernetwork_bytes == 4 * info.hypernetwork_parameters


@pytest.mark.parametrize("depth", range(5))
def test_tuned_stays_within_the_paper_s_count(depth: int) -> None:
    info = describe(depth, tasks=20, classes=5, options=usual_options("hn"))
    assert info.hypernetwork_parameters <= PUBLISHED[100][depth]


@pytest.mark.parametrize("depth", range(5))
def test_trunk_and_tail_are_those_of_the_model(depth: int) -> None:
    trunk, tail = decompose(slim_resnet18(5), depth)
    info = describe(depth, tasks=3, classes=5, options=usual_options("hn", "printed"))
    assert info.depth == (depth or "full")
    assert info.trunk_parameters == sum(p.numel() for p in trunk.parameters())
    assert info.tail_parameters == sum(p.numel() for p in tail.parameters())
    features = trunk.eval()(torch.zeros(1, 3, 32, 32))
    assert info.exemplar_shape == tuple(features.shape[1:])
    assert info.exemplar_bytes == 4 * features.numel()
    assert info.buffer_bytes == 200 * info.exemplar_bytes
    statistics = sum(b.numel() * b.element_size() for b in tail.buffers())
    assert info.statistics_bytes == 3 * statistics
    assert info.separate_bytes == 3 * (4 * info.tail_parameters + statistics)


def test_image_size_and_channels_reach_the_exemplar() -> None:
    info = describe(2, tasks=5, classes=2, image_size=16, channels=1, buffer=7, options=usual_options("hn", "printed"))
    assert info.exemplar_shape == (40, 8, 8)
    assert info.buffer_bytes == 7 * 4 * 40 * 8 * 8
    assert describe(
        0, tasks=5, classes=2, image_size=16, channels=1, options=usual_options("hn", "printed")
    ).exemplar_shape == (1, 16, 16)


def test_a_single_pixel_is_no_trouble_for_instance_normalisation() -> None:
    assert describe(4, tasks=2, classes=2, image_size=8, options=usual_options("hn", "released")).exemplar_shape == (
        160,
        1,
        1,
    )


def test_it_counts_without_drawing() -> None:
    before = torch.random.get_rng_state()
    describe(0, tasks=20, classes=100, options=usual_options("hn", "printed"))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_json() -> None:
    content = describe(3, tasks=20, classes=5, options=usual_options("hn", "printed")).to_json()
    assert json.loads(json.dumps(content))["hypernetwork_parameters"] == 420822


@pytest.mark.parametrize("name", ["tasks", "classes", "image_size", "channels", "buffer"])
def test_numbers_below_one(name: str) -> None:
    sizes = {"tasks": 2, "classes": 2, "image_size": 8, "channels": 3, "buffer": 1}
    message = f"option --{name.replace('_', '-')}: required 1 or more; found 0. Give --{name.replace('_', '-')} a value"
    with pytest.raises(ConfigError, match=message):
        describe(3, **{**sizes, name: 0}, options=usual_options("hn", "printed"))
