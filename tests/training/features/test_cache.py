from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hypertail.nets import Frozen, Standardise
from hypertail.seeds import generator
from hypertail.strategies import PartialHypernet
from hypertail.training.features.cache import CHUNK_PIXELS, FeatureCache, take
from hypertail.training.features.spill import Spill
from support.asserts import assert_same_run, assert_same_tensors
from support.tiny import augmented, backbone, build, tiny_stream, train

STREAM = tiny_stream(2, validation=True)
FIRST = STREAM[0]


def trunk() -> Frozen:
    return Frozen(backbone("cnn")[:3])


def cache(module: nn.Module | None = None, **options: Any) -> FeatureCache:
    result = FeatureCache(seed=5, **({"on_notice": lambda text: None} | options))
    result.set_trunk(module)
    return result


FULL = Spill(reserve_bytes=1 << 60)
"""A disk with room for nothing."""
on_disks = pytest.mark.parametrize("disk", [Spill(reserve_bytes=0), FULL, None], ids=["disk", "full disk", "no disk"])


def test_images_are_augmented_by_seed_task_and_epoch_alone() -> None:
    inputs = cache().train(FIRST, 3)
    random = generator(5, "augment", 0, 3)
    assert torch.equal(inputs, augmented(FIRST.train.images, random))
    assert not torch.equal(inputs, cache().train(FIRST, 4))
    assert not torch.equal(inputs, FeatureCache(seed=6).train(FIRST, 3))


def test_features_are_the_trunk_s_features_of_the_augmented_images() -> None:
    module = trunk()
    features = cache(module).train(FIRST, 1)
    torch.testing.assert_close(features, module(cache().train(FIRST, 1)))


@pytest.mark.parametrize(
    "stages",
    [nn.Sequential(nn.AvgPool2d(2)), nn.Sequential(Standardise(3)), nn.Flatten()],
    ids=["pool", "standardise", "flatten"],
)
def test_a_trunk_without_parameters_is_applied_too(stages: nn.Module) -> None:
    for module in stages.modules():
        if isinstance(module, Standardise):
            module.fit([torch.rand(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))])
    module = Frozen(stages)
    images = cache().train(FIRST, 0)
    torch.testing.assert_close(cache(module).train(FIRST, 0), module(images))


def test_plain_and_test_inputs_are_not_augmented() -> None:
    own = cache()
    examples = {"test": FIRST.test, "validation": FIRST.validation}
    for split, wanted in examples.items():
        assert wanted is not None
        assert torch.equal(own.test(FIRST, split), wanted.images.float() / 127.5 - 1)
    assert torch.equal(own.plain(FIRST), FIRST.train.images.float() / 127.5 - 1)


def test_views_are_used_in_turn() -> None:
    own = cache(trunk(), views=2)
    views = [own.train(FIRST, epoch) for epoch in range(5)]
    assert torch.equal(views[0], views[2])
    assert torch.equal(views[1], views[3])
    assert torch.equal(views[0], views[4])
    assert not torch.equal(views[0], views[1])


@on_disks
@pytest.mark.parametrize("budget", [0, 10_000, 1 << 30])
@pytest.mark.parametrize("net", ["cnn", "resnet"])
def test_kept_spilled_and_computed_inputs_agree_bit_for_bit(net: str, budget: int, disk: Spill | None) -> None:
    module = Frozen(backbone(net)[:3])
    never, tight = cache(module), cache(module, views=2, cache_bytes=budget, disk=disk)
    for epoch in range(4):
        for experience in STREAM:
            pairs = [(never.train(experience, epoch % 2), tight.train(experience, epoch))]
            pairs.append((cache(module).test(experience), tight.test(experience)))
            for computed, found in pairs:
                assert torch.equal(computed, found)
                assert computed.stride() == found.stride()
            assert tight.used_bytes <= budget
    if budget == 0:
        assert (tight.spilled_bytes > 0) is (disk is not None and disk is not FULL)


@pytest.mark.parametrize("budget", [1 << 30, 0], ids=["memory", "disk"])
def test_kept_inputs_are_not_computed_twice(budget: int) -> None:
    class Counting(nn.Module):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return x

    counting = Counting()
    module = Frozen(nn.Sequential(nn.Conv2d(3, 4, 1), counting))
    own = cache(module, views=2, cache_bytes=budget, disk=Spill(reserve_bytes=0))
    for epoch in range(6):
        own.train(FIRST, epoch)
        own.test(FIRST)
    assert counting.calls == 3


@pytest.mark.parametrize("budget", [1 << 30, 0], ids=["memory", "disk"])
def test_views_of_an_earlier_experience_are_dropped_and_test_inputs_kept(budget: int) -> None:
    own = cache(trunk(), views=2, cache_bytes=budget, disk=Spill(reserve_bytes=0))
    own.test(FIRST)
    tests = own.used_bytes + own.spilled_bytes
    own.train(FIRST, 0)
    own.train(STREAM[1], 0)
    view = own.train(STREAM[1], 0)
    assert own.used_bytes + own.spilled_bytes == tests + view.numel() * 4
    assert min(own.used_bytes, own.spilled_bytes) == 0


def test_another_trunk_drops_what_the_old_one_made() -> None:
    own, second = cache(trunk(), views=1), Frozen(backbone("cnn", seed=1)[:3])
    own.train(FIRST, 0)
    own.test(FIRST)
    own.set_trunk(second)
    assert own.used_bytes == own.spilled_bytes == 0
    torch.testing.assert_close(own.train(FIRST, 0), second(cache().train(FIRST, 0)))


@pytest.mark.parametrize(
    ("disk", "message"),
    [
        (
            FULL,
            "0 MiB of inputs do not fit in the cache of 0 MiB or on the disk of {folder} and are computed again "
            "each time; a larger cache (--cache-bytes), a TMPDIR with more room or fewer views (--views) would keep "
            "them.",
        ),
        (
            None,
            "0 MiB of inputs do not fit in the cache of 0 MiB and are computed again each time; "
            "a larger cache (--cache-bytes) or fewer views (--views) would keep them.",
        ),
        (
            Spill(reserve_bytes=0),
            "inputs beyond the cache of 0 MiB are kept in memory-mapped temporary files in {folder}; "
            "a larger cache (--cache-bytes) or fewer views (--views) would keep them in it.",
        ),
    ],
    ids=["full disk", "no disk", "disk"],
)
def test_the_user_is_told_once_where_inputs_are(disk: Spill | None, message: str) -> None:
    told: list[str] = []
    own = cache(trunk(), views=1, cache_bytes=100, disk=disk, on_notice=told.append)
    for epoch in range(3):
        own.train(FIRST, epoch)
        own.test(FIRST)
    assert told == [message.format(folder=Spill().folder)]


def test_a_notice_is_a_warning_unless_somebody_listens() -> None:
    own = FeatureCache(seed=0, views=1, cache_bytes=0, disk=None)
    own.set_trunk(trunk())
    with pytest.warns(RuntimeWarning, match="are computed again each time"):
        own.train(FIRST, 0)


def test_a_cache_within_its_budget_says_nothing() -> None:
    told: list[str] = []
    own = cache(trunk(), views=2, on_notice=told.append)
    for epoch in range(3):
        own.train(FIRST, epoch)
        own.test(FIRST)
    assert told == []


def test_mixed_precision_rounds_features_and_keeps_their_type() -> None:
    module = Frozen(backbone("resnet")[:3])
    exact, rounded = cache(module).train(FIRST, 0), cache(module, precision="mixed").train(FIRST, 0)
    assert rounded.dtype == exact.dtype
    assert rounded.stride() == exact.stride()
    assert not torch.equal(rounded, exact)
    assert float((rounded - exact).norm() / exact.norm()) < 0.02


def test_inputs_and_batches_are_channels_last() -> None:
    inputs = cache(trunk()).train(FIRST, 0)
    batch = take(inputs, torch.tensor([3, 1, 7]))
    for tensor in (inputs, batch):
        assert tensor.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch, inputs[[3, 1, 7]])
    flat = torch.rand(5, 4)
    assert torch.equal(take(flat, torch.tensor([4, 0])), flat[[4, 0]])


def test_features_do_not_depend_on_what_else_is_in_the_set() -> None:
    """Images pass the trunk in chunks of fixed size; the last one may be smaller."""
    chunk = CHUNK_PIXELS["cpu"] // 64
    stream = tiny_stream(1, per_class=chunk // 2 + 20)
    module = trunk()
    whole = cache(module).plain(stream[0])
    images = cache().plain(stream[0])
    assert len(images) > chunk
    torch.testing.assert_close(whole[-3:], module(images[-3:]))


@on_disks
@pytest.mark.parametrize("budget", [0, 4_000])
def test_a_run_does_not_depend_on_where_its_inputs_are_kept(budget: int, disk: Spill | None) -> None:
    strategies, results = [], []
    for bytes_ in (1 << 30, budget):
        strategy = build("hn")
        own = cache(views=2, cache_bytes=bytes_, disk=disk)
        results.append(train(strategy, STREAM, epochs=3, cache=own))
        strategies.append(strategy)
    assert_same_run(*results, *strategies)


def test_cached_views_equal_features_computed_by_hand_in_a_run() -> None:
    """One view per epoch, kept or not: the same run."""
    strategies = []
    for views in (None, 3):
        strategy = build("hn", learns=False)
        assert isinstance(strategy, PartialHypernet)
        train(strategy, STREAM, epochs=3, cache=FeatureCache(seed=0, views=views))
        strategies.append(strategy)
    assert_same_tensors(strategies[0].state(), strategies[1].state())


OPEN = Path("/proc/self/fd")


@pytest.mark.skipif(not OPEN.exists(), reason="no /proc here")
def test_open_files_do_not_grow_with_the_experiences(tmp_path: Path) -> None:
    """case 37: 60 experiences, nothing fits the cache, and test inputs of all are kept to the end."""
    stream = tiny_stream(60, per_class=2)
    inputs = cache(trunk(), views=2, cache_bytes=1, disk=Spill(tmp_path, reserve_bytes=0))
    counts = []
    for experience in stream:
        for epoch in range(4):
            inputs.train(experience, epoch)
        for seen in range(experience.task + 1):
            inputs.test(stream[seen])
        counts.append(len(list(OPEN.iterdir())))
    assert max(counts) == min(counts)
    kept = 60 * inputs.test(stream[0]).nbytes + 2 * inputs.train(stream[59], 0).nbytes
    assert inputs.spilled_bytes == kept, "what earlier experiences were trained on is still there"
