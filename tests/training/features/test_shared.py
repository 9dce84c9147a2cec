"""Features shared by the runs of one process: the same numbers, computed once, and seconds as of a run by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from hypertail.nets import Frozen
from hypertail.streams import Experience
from hypertail.training.features import cache as features
from hypertail.training.features.cache import FeatureCache
from hypertail.training.features.shared import SharedFeatures, digest_of_images, digest_of_trunk
from hypertail.training.trainer import Trainer
from support.tiny import build, tiny_stream

STREAM = tiny_stream(2, validation=True)
BYTES = 1 << 24


def trunk(seed: int = 0) -> Frozen:
    torch.manual_seed(seed)
    return Frozen(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()))


def cache(shared: SharedFeatures | None, own: nn.Module | None = None, seed: int = 0) -> FeatureCache:
    made = FeatureCache(seed=seed, views=2, shared=shared)
    made.set_trunk(trunk() if own is None else own)
    return made


def all_inputs(own: FeatureCache) -> list[Tensor]:
    return [
        inputs
        for e in STREAM
        for inputs in (own.train(e, 0), own.train(e, 1), own.plain(e), own.test(e), own.test(e, "validation"))
    ]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts how often images go through a trunk."""
    counted: list[int] = []
    through = FeatureCache._through

    def counting(self: FeatureCache, *args: object) -> Tensor:
        counted.append(1)
        return through(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(features.FeatureCache, "_through", counting)
    return counted


def test_a_second_run_computes_nothing_and_sees_the_same(passes: list[int]) -> None:
    alone = all_inputs(cache(None))
    passes.clear()
    shared = SharedFeatures(BYTES)
    first, second = cache(shared), cache(shared)
    for inputs in (all_inputs(first), all_inputs(second)):
        assert all(torch.equal(one, other) for one, other in zip(inputs, alone, strict=True))
        assert all(one.stride() == other.stride() for one, other in zip(inputs, alone, strict=True))
    assert len(passes) == len(alone)
    assert first.saved_seconds == 0
    assert second.saved_seconds > 0


def test_what_differs_is_not_shared(passes: list[int]) -> None:
    shared = SharedFeatures(BYTES)
    all_inputs(cache(shared))
    for other in (cache(shared, seed=1), cache(shared, trunk(1))):
        passes.clear()
        all_inputs(other)
        assert len(passes) == 10
    mixed = FeatureCache(seed=0, views=2, shared=shared, precision="mixed")
    mixed.set_trunk(trunk())
    passes.clear()
    mixed.train(STREAM[0], 0)
    assert len(passes) == 1
    passes.clear()
    mixed.test(STREAM[0])  # what is measured is at full precision anyway
    assert not passes


def test_digests_follow_from_content() -> None:
    assert digest_of_trunk(trunk()) == digest_of_trunk(trunk())
    assert digest_of_trunk(trunk()) != digest_of_trunk(trunk(1))
    experience = STREAM[0]
    of = digest_of_images(experience, "train")
    assert of == digest_of_images(tiny_stream(2)[0], "train")
    images = experience.train.images.clone()
    images[0, 0, 0, 0] ^= 1
    changed: Experience = replace(experience, train=replace(experience.train, images=images))
    assert of != digest_of_images(changed, "train")
    assert of != digest_of_images(experience, "test")
    assert of != digest_of_images(replace(experience, train_transform=experience.test_transform), "train")


def test_short_room_drops_other_trunks_first_and_then_keeps_no_more() -> None:
    shared = SharedFeatures(400)
    tensor = torch.zeros(50)  # 200 bytes
    for trunk_name, key in (("a", "1"), ("a", "2"), ("b", "1"), ("b", "2"), ("b", "3")):
        shared.get(trunk_name, key, lambda: tensor)
    assert shared.used_bytes == 400

    def never() -> Tensor:
        raise AssertionError

    shared.get("b", "1", never)
    shared.get("b", "2", never)
    for lost in (("a", "1"), ("b", "3")):
        with pytest.raises(AssertionError):
            shared.get(*lost, never)


def test_full_hypernetworks_share_nothing() -> None:
    shared = SharedFeatures(BYTES)
    all_inputs(cache(shared, Frozen(nn.Sequential())))
    assert shared.used_bytes == 0


def test_saved_seconds_count_as_those_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = SharedFeatures(BYTES)
    own = FeatureCache(seed=0, views=1, shared=shared)

    def get(trunk: str, key: str, compute: object) -> tuple[Tensor, float]:
        return compute(), 1000.0  # type: ignore[operator]

    monkeypatch.setattr(shared, "get", get)
    result = Trainer(STREAM, build("separate", learns=False), epochs=1, batch_size=8, cache=own).run()
    # of each experience the training and the test images
    assert result.seconds["features"] == pytest.approx(2000, abs=100)
    assert result.seconds["evaluation"] == pytest.approx(2000, abs=100)
    assert result.seconds_per_experience == pytest.approx([2000, 2000], abs=100)
