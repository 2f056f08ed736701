"""What indices cost, against coded ones, and the search for a root."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from nerf.compression.coding.rate_control import decreasing_root, expected_index_bits
from nerf.compression.coding.relative_entropy import choose
from nerf.compression.model.codec import load_model


@pytest.mark.parametrize("bits", [0.0, 4.0, 8.0, 13.0])
def test_costs_of_indices_are_about_those_of_coded_blocks(bits: float) -> None:
    model = load_model("photos")
    numbers, candidate_bits = 8, model.description.candidate_bits
    std = math.exp(-0.8 * bits * math.log(2) / numbers)
    shift = math.sqrt(max(0.0, 2 * (bits * math.log(2) / numbers + math.log(std)) - std**2 + 1))
    generator, gumbels = torch.Generator().manual_seed(0), np.random.default_rng(0)
    sizes = []
    for _ in range(8):
        normals = torch.randn(1 << candidate_bits, numbers, generator=generator)
        mean = (torch.randint(2, (8, numbers), generator=generator) * 2.0 - 1) * shift
        sizes += map(model.code.size, choose(normals, mean, torch.full_like(mean, std), gumbels).tolist())
    expected = float(expected_index_bits(model.code, candidate_bits)(torch.tensor(bits)))
    assert np.mean(sizes) == pytest.approx(expected, abs=1.2)


def test_roots_are_found_and_ends_where_there_are_none() -> None:
    low, high = torch.full((3,), -1.0), torch.full((3,), 3.0)
    found = decreasing_root(lambda x: torch.tensor([2.0, -5.0, 9.0]) - x**3, low, high)
    torch.testing.assert_close(found, torch.tensor([2 ** (1 / 3), -1.0, 9 ** (1 / 3)]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(decreasing_root(lambda x: 50 - x, low, high), high)
