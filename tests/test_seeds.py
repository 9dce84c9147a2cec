"""The seeds that every run draws from (`hypertail.seeds`)."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from hypertail.seeds import derive, generator, reseed, seeded

PURPOSES = [("order", 0, 1), ("order", 1, 0), ("order", 0), ("augment", 0, 1), ("augment",), ()]


def draw(*purpose: object, seed: int = 0) -> torch.Tensor:
    return torch.rand(50, generator=generator(seed, *purpose))


def test_derived_seeds_are_the_same_on_every_machine() -> None:
    assert derive(0, "order", 3) == 228_291_028_133_782_092
    assert all(0 <= derive(seed, "x") < 2**63 for seed in range(100))


def test_purposes_and_seeds_are_independent() -> None:
    draws = [draw(*purpose, seed=seed) for seed in (0, 1) for purpose in PURPOSES]
    for a, b in itertools.combinations(draws, 2):
        assert not torch.equal(a, b)
        assert abs(float(torch.corrcoef(torch.stack((a, b)))[0, 1])) < 0.6


def test_generators_neither_read_nor_move_the_global_state() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first, state = draw("order"), torch.get_rng_state()
        torch.manual_seed(2)
        second, other = draw("order"), torch.get_rng_state()
    assert torch.equal(first, second)
    assert not torch.equal(state, other)


def test_drawing_from_one_purpose_does_not_move_another() -> None:
    expected = draw("b")
    a, b = generator(0, "a"), generator(0, "b")
    torch.rand(1000, generator=a)
    assert torch.equal(torch.rand(50, generator=b), expected)


def test_seeded_follows_its_purpose_and_leaves_the_global_state_as_it_was() -> None:
    def weight(*purpose: object) -> torch.Tensor:
        with seeded(0, *purpose):
            return nn.Linear(3, 3).weight.detach()

    before = torch.get_rng_state()
    first = weight("head", 0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(1)
    assert torch.equal(weight("head", 0), first)
    assert not torch.equal(weight("head", 1), first)


def test_seeded_restores_the_global_state_after_an_error() -> None:
    before = torch.get_rng_state()
    try:
        with seeded(0):
            torch.rand(3)
            raise KeyError
    except KeyError:
        pass
    assert torch.equal(torch.get_rng_state(), before)


def test_reseeding_follows_its_purpose_whatever_was_drawn_before() -> None:
    before, draws = torch.get_rng_state(), []
    with seeded(0, "train"):
        for waste in (0, 7):
            torch.rand(waste)
            for step in (0, 1):
                reseed(0, "step", step)
                draws.append(torch.rand(3))
    assert torch.equal(draws[0], draws[2])
    assert torch.equal(draws[1], draws[3])
    assert not torch.equal(draws[0], draws[1])
    assert torch.equal(torch.get_rng_state(), before)
