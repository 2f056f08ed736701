"""Draws depend on (seed, step, sample, name) and on nothing else."""

from __future__ import annotations

import torch

from mappers.training.draws import Draws, key


def test_a_sample_draws_the_same_in_any_batch() -> None:
    together = Draws(1, 5, range(8)).normal("noise", (3, 2))
    apart = torch.cat([Draws(1, 5, [i]).normal("noise", (3, 2)) for i in range(8)])
    assert torch.equal(together, apart)
    swapped = Draws(1, 5, [3, 0])
    assert torch.equal(swapped.uniform("u")[1], Draws(1, 5, [0]).uniform("u")[0])


def test_every_part_of_the_key_matters() -> None:
    base = Draws(1, 5, [2]).normal("noise", (16,))
    others = [Draws(2, 5, [2]), Draws(1, 6, [2]), Draws(1, 5, [3])]
    assert all(not torch.equal(base, other.normal("noise", (16,))) for other in others)
    assert not torch.equal(base, Draws(1, 5, [2]).normal("latent", (16,)))
    assert key(1, 23, "a") != key(12, 3, "a")


def test_distributions() -> None:
    draws = Draws(0, 0, range(2000))
    normal, uniform = draws.normal("n", (4,)), draws.uniform("u")
    assert abs(normal.mean()) < 0.05
    assert abs(normal.std() - 1) < 0.05
    assert 0 <= uniform.min()
    assert uniform.max() < 1
    assert set(draws.integers("i", 5).tolist()) == {0, 1, 2, 3, 4}


def test_shared_draws_ignore_the_samples() -> None:
    a, b = Draws(0, 3, [0]).shared_generator("k"), Draws(0, 3, [5, 6]).shared_generator("k")
    assert torch.equal(torch.rand(4, generator=a), torch.rand(4, generator=b))


def test_rows_of_a_block_are_the_same_in_any_process() -> None:
    whole = Draws(0, 3, range(6)).rows("rays", 6, 4)
    halves = [Draws(0, 3, part).rows("rays", 6, 4) for part in (range(3), range(3, 6))]
    assert torch.equal(whole, torch.cat(halves))
    assert not torch.equal(whole, Draws(0, 4, range(6)).rows("rays", 6, 4))


def test_numpy_generators_follow_the_sample() -> None:
    assert Draws(0, 3, [4, 9]).numpy(1).random() == Draws(0, 3, [9]).numpy(0).random()
