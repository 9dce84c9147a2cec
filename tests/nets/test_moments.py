"""Moments of classes: exact in any order, and the discriminant that follows from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from hypertail.errors import DataError
from hypertail.nets.moments import (
    Discriminant,
    Moments,
    all_joined,
    packed,
    pooled_covariance,
    unpacked,
    whole_covariance,
)
from support.errors import refused


def data(seed: int = 0, classes: int = 3, count: int = 60, width: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    centres = 2 * torch.randn(classes, width, generator=random, dtype=torch.double)
    mix = torch.randn(width, width, generator=random, dtype=torch.double)
    return centres[labels] + torch.randn(count, width, generator=random, dtype=torch.double) @ mix, labels


def same(a: Moments, b: Moments) -> None:
    for name in ("counts", "means", "scatter"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), rtol=1e-10, atol=1e-10)


def test_moments_of_parts_are_those_of_the_whole() -> None:
    vectors, labels = data()
    whole = Moments.of(vectors, labels, 3)
    parts = [Moments.of(vectors[rows], labels[rows], 3) for rows in (slice(0, 17), slice(17, 60))]
    same(parts[0].merged(parts[1], [0, 1, 2]), whole)
    same(parts[1].merged(parts[0], [0, 1, 2]), whole)


def test_a_merge_may_bring_a_new_class() -> None:
    vectors, labels = data()
    whole = Moments.of(vectors, labels, 3)
    known, more = labels < 2, labels == 2
    first = Moments.of(vectors[known], labels[known], 2)
    same(first.merged(Moments.of(vectors[more], labels[more] - 2, 1), [2]), whole)
    same(first.joined(Moments.of(vectors[more], labels[more] - 2, 1)), whole)


def test_distances_are_those_of_the_definition() -> None:
    vectors, labels = data()
    moments = Moments.of(vectors, labels, 3)
    covariance = pooled_covariance([moments])
    expected = torch.zeros(5, 3, dtype=torch.double)
    steadied = covariance + 0.01 * covariance.diagonal().mean() * torch.eye(6)
    for row in range(5):
        for c in range(3):
            difference = vectors[row] - moments.means[c]
            expected[row, c] = difference @ torch.linalg.inv(steadied) @ difference
    torch.testing.assert_close(Discriminant(moments.means, covariance, 0.01).distances(vectors[:5]), expected)


def test_classes_are_those_of_scikit_learn() -> None:
    vectors, labels = data(classes=4, count=200)
    moments = Moments.of(vectors, labels, 4)
    ours = Discriminant(moments.means, pooled_covariance([moments]), 0.0).logits(vectors).argmax(1)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", priors=np.full(4, 0.25)).fit(vectors.numpy(), labels.numpy())
    assert (ours.numpy() == theirs.predict(vectors.numpy())).all()


def test_the_covariance_of_everything() -> None:
    vectors, labels = data()
    halves = [Moments.of(vectors[:30], labels[:30], 3), Moments.of(vectors[30:], labels[30:], 3)]
    mean, covariance = whole_covariance(halves)
    torch.testing.assert_close(mean, vectors.mean(0))
    torch.testing.assert_close(covariance, torch.cov(vectors.T, correction=0))


def test_packed_moments_tell_the_same() -> None:
    vectors, labels = data(count=120)
    moments = Moments.of(vectors, labels, 3)
    tensors = packed(moments)
    assert tensors["correlations"].dtype == torch.int8
    again = unpacked(tensors)
    largest = moments.scatter.diagonal().sqrt()
    assert ((again.scatter - moments.scatter).abs() <= torch.outer(largest, largest) / 250).all()
    torch.testing.assert_close(again.means, moments.means, rtol=1e-3, atol=1e-3)
    before, after = (Discriminant(m.means, pooled_covariance([m])).distances(vectors) for m in (moments, again))
    assert (before.argmin(1) == after.argmin(1)).double().mean() > 0.98


@pytest.mark.parametrize("count", [2, 3])
def test_fewer_vectors_than_numbers_are_no_fault(count: int) -> None:
    vectors, labels = data(classes=2, count=count, width=9)
    moments = unpacked(packed(Moments.of(vectors, labels, 2)))
    distances = Discriminant(moments.means, pooled_covariance([moments])).distances(vectors)
    assert distances.isfinite().all()


def test_a_class_without_vectors_is_refused() -> None:
    vectors, labels = data()
    with refused(DataError, problem="means", found="class 3"):
        Moments.of(vectors, labels, 4)


@pytest.mark.parametrize("offset", [0.0, 200.0, 2000.0])
def test_a_common_offset_takes_nothing_of_what_tells_classes_apart(offset: float) -> None:
    random = torch.Generator().manual_seed(0)
    centres = offset + 0.3 * torch.randn(5, 1, 16, generator=random)
    vectors = (centres + 0.24 * torch.randn(5, 60, 16, generator=random)).flatten(0, 1)
    labels = torch.arange(5).repeat_interleave(60)
    moments = Moments.of(vectors, labels, 5)
    tensors = packed(moments)
    assert tensors["means"].dtype == (torch.float32 if offset else torch.float16)
    before, after = (
        Discriminant(m.means, pooled_covariance([m])).distances(vectors) for m in (moments, unpacked(tensors))
    )
    assert (before.argmin(1) == after.argmin(1)).double().mean() > 0.98
    torch.testing.assert_close(after, before, rtol=0.05, atol=0.5)


def test_packed_moments_come_back_and_pack_again_to_the_same() -> None:
    vectors, labels = data(count=120)
    tensors = packed(Moments.of(vectors, labels, 3))
    again = packed(unpacked(tensors))
    assert all(torch.equal(tensors[name], again[name]) for name in tensors)


def test_scatters_are_summed_one_by_one_and_kept_packed() -> None:
    every = [unpacked(packed(Moments.of(*data(seed=seed), 3))) for seed in range(5)]
    joined = all_joined(iter(every))
    torch.testing.assert_close(joined.scatter, torch.stack([each.scatter for each in every]).sum(0))
    assert torch.equal(joined.means, torch.cat([each.means for each in every]))
    assert "scatter" not in vars(every[0])


def test_correlations_of_another_width_are_refused() -> None:
    tensors = packed(Moments.of(*data(), 3))
    with pytest.raises(ValueError, match="correlations of 6 numbers"):
        unpacked(tensors | {"correlations": tensors["correlations"][1:]})
