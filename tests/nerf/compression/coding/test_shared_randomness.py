"""Shared randomness is part of the file format: words, tables and candidates never change."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from nerf.compression.coding.relative_entropy import choose, falling_gumbels, log_ratios
from nerf.compression.coding.shared_randomness import candidates, normal_table, permutations, philox_words
from nerf.compression.model.codec import CodecModel


def philox4x64(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x64-10 as published (Salmon and others, 2011), in plain integers."""
    mask = (1 << 64) - 1
    c, k = list(counter), list(key)
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [(second >> 64) ^ c[1] ^ k[0], second & mask, (first >> 64) ^ c[3] ^ k[1], first & mask]
        k = [(k[0] + 0x9E3779B97F4A7C15) & mask, (k[1] + 0xBB67AE8584CAA73B) & mask]
    return c


def test_words_are_those_of_the_random123_test_vectors() -> None:
    """Known-answer vectors of Random123's kat_vectors for philox4x64-10: counter and key of zeros, and of ones."""
    zeros = philox_words((0, 0), (0, 0, 0, 0), 4)
    assert [f"{word:016x}" for word in zeros] == [
        "16554d9eca36314c", "db20fe9d672d0fdc", "d7e772cee186176b", "7e68b68aec7ba23b",
    ]  # fmt: skip
    ones = (1 << 64) - 1
    assert [f"{word:016x}" for word in philox_words((ones, ones), (ones, ones, ones, ones), 4)] == [
        "87b092c3013fe90b", "438c3c67be8d0224", "9cc7d7c69cd777b6", "a09caebf594f0ba0",
    ]  # fmt: skip


def test_words_equal_an_independent_implementation_across_counters() -> None:
    got = philox_words((12345, 1), (2**64 - 2, 7, 2, 0), 12)
    counters = [(2**64 - 2, 7), (2**64 - 1, 7), (0, 8)]
    expected = [word for low, high in counters for word in philox4x64([low, high, 2, 0], [12345, 1])]
    assert got.tolist() == expected


def test_the_table_is_the_one_of_the_file_format(tiny: CodecModel, expected: Callable[..., None]) -> None:
    table = tiny.table
    assert (table.dtype, len(table)) == (np.float32, 65536)
    expected("normal_table", {str(place): float(table[place]) for place in (0, 1, 1000, 32767, 65535)})
    expected = torch.special.ndtri((torch.arange(65536, dtype=torch.float64) + 0.5) / 65536)
    np.testing.assert_allclose(table, expected.numpy(), rtol=1e-6)
    np.testing.assert_array_equal(table, normal_table())


@pytest.mark.parametrize("size", [1, 15, 16, 17, 40])
def test_a_candidate_alone_is_that_row_of_the_full_draw(tiny: CodecModel, size: int) -> None:
    everything = candidates(tiny.table, tiny.key, (0, 1, 3), size, count=300)
    for place in (0, 1, 77, 299):
        alone = candidates(tiny.table, tiny.key, (0, 1, 3), size, first=place)
        np.testing.assert_array_equal(alone[0], everything[place])


def test_candidates_are_standard_normal_and_differ_between_blocks_and_levels(tiny: CodecModel) -> None:
    draws = [
        candidates(tiny.table, tiny.key, key, 12, count=4096) for key in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0))
    ]
    for draw in draws:
        assert abs(draw.mean()) < 0.02
        assert abs(draw.std() - 1) < 0.02
        assert abs(np.corrcoef(draw.T) - np.eye(12)).max() < 0.08
    assert not np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


def test_permutations_hold_every_row_once_and_differ_between_columns() -> None:
    order = permutations(99, 1, 0, 7, 50)
    assert (np.sort(order, 0) == np.arange(7)[:, None]).all()
    assert len({tuple(column) for column in order.T}) > 40
    assert (permutations(99, 1, 0, 1, 50) == 0).all()


def test_log_ratios_are_differences_of_log_probabilities() -> None:
    generator = torch.Generator().manual_seed(0)
    normals = torch.randn(200, 9, generator=generator)
    mean, std = torch.randn(5, 9, generator=generator), torch.rand(5, 9, generator=generator) * 0.9 + 0.1
    normal = torch.distributions.Normal
    expected = (normal(mean, std).log_prob(normals[:, None]) - normal(0, 1).log_prob(normals[:, None])).sum(2).T
    torch.testing.assert_close(log_ratios(normals, mean, std), expected, rtol=1e-4, atol=1e-3)
    double = log_ratios(normals.double(), mean.double(), std.double())
    torch.testing.assert_close(double.float(), expected, rtol=1e-4, atol=1e-4)


def test_a_posterior_that_is_the_prior_costs_index_zero() -> None:
    generator = torch.Generator().manual_seed(1)
    normals = torch.randn(1024, 6, generator=generator)
    assert choose(normals, torch.zeros(20, 6), torch.ones(20, 6), np.random.default_rng(1)).tolist() == [0] * 20


def test_gumbels_fall_and_the_first_is_gumbel_distributed() -> None:
    gumbels = falling_gumbels(32, 4000, np.random.default_rng(2))
    assert (gumbels.diff(dim=1) <= 0).all()
    # The first arrival of the process is exponential: mean of minus its logarithm is Euler's constant.
    assert abs(gumbels[:, 0].mean() - 0.5772) < 0.06


@pytest.mark.parametrize(("candidate_bits", "excess"), [(14, 1.28), (16, 1.1)])
def test_samples_have_the_posteriors_mean_and_variance(candidate_bits: int, excess: float) -> None:
    """Blocks of 8 numbers and 12 bits; too few candidates show as errors larger than the posterior's own."""
    generator, gumbels = torch.Generator().manual_seed(3), np.random.default_rng(3)
    std = 0.3
    shift = (2 * 12 * math.log(2) / 8 - std**2 + 1 + 2 * math.log(std)) ** 0.5
    errors = []
    for _ in range(200):
        normals = torch.randn(1 << candidate_bits, 8, generator=generator)
        mean = (torch.randint(2, (4, 8), generator=generator) * 2.0 - 1) * shift
        chosen = choose(normals, mean, torch.full((4, 8), std), gumbels)
        errors.append((normals[chosen] - mean) / std * mean.sign())
    errors = torch.cat(errors)
    assert 0.9 < errors.square().mean() < excess
    assert abs(errors.mean()) < 0.15
