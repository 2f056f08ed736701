"""The hash encoding against independent ways to compute it."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional as F

from nerf.fields.hash_grid import HashConfig, HashEncoding
from nerf.fields.interpolation import weighted_rows

DENSE = HashConfig(levels=1, coarsest=6, finest=6, table_log2=14)
HASHED = HashConfig(levels=3, coarsest=4, finest=40, table_log2=8)


def by_hand(encoding: HashEncoding, point: torch.Tensor) -> torch.Tensor:
    """One point, corner by corner, in Python's exact integers."""
    out = []
    config = encoding.config
    for level, resolution in enumerate(config.resolutions):
        scaled = [min(float(v) * resolution, resolution) for v in point]
        base = [min(int(v), resolution - 1) for v in scaled]
        total = torch.zeros(config.level_features)
        for corner in itertools.product((0, 1), repeat=3):
            node = [b + c for b, c in zip(base, corner, strict=True)]
            weight = 1.0
            for v, b, c in zip(scaled, base, corner, strict=True):
                weight *= (v - b) if c else 1 - (v - b)
            if (resolution + 1) ** 3 > 2**config.table_log2:
                row = (node[0] ^ (node[1] * 2654435761) ^ (node[2] * 805459861)) % 2**config.table_log2
            else:
                row = node[0] + (resolution + 1) * (node[1] + (resolution + 1) * node[2])
            total += weight * encoding.table[encoding.starts[level] + row].detach()
        out.append(total)
    return torch.cat(out)


def test_equals_the_definition() -> None:
    torch.manual_seed(0)
    encoding = HashEncoding(HASHED)
    torch.nn.init.normal_(encoding.table)
    assert encoding.hashed == [False, True, True]
    points = torch.rand(20, 3)
    points[0], points[1] = 0.0, 1.0
    expected = torch.stack([by_hand(encoding, point) for point in points])
    torch.testing.assert_close(encoding(points), expected, atol=1e-5, rtol=1e-4)


def test_a_level_that_needs_no_hashing_is_grid_sample() -> None:
    torch.manual_seed(0)
    encoding = HashEncoding(DENSE)
    torch.nn.init.normal_(encoding.table)
    points = torch.rand(100, 3)
    grid = encoding.table.view(7, 7, 7, 2).permute(3, 0, 1, 2)[None]
    expected = F.grid_sample(grid, (points * 2 - 1)[None, :, None, None], align_corners=True)[0, :, :, 0, 0].T
    torch.testing.assert_close(encoding(points), expected, atol=1e-5, rtol=1e-4)


def test_continuous_across_cells() -> None:
    torch.manual_seed(0)
    encoding = HashEncoding(HASHED)
    torch.nn.init.normal_(encoding.table)
    edge = torch.full((1, 3), 0.5)
    torch.testing.assert_close(encoding(edge - 1e-6), encoding(edge + 1e-6), atol=1e-3, rtol=0)


def test_three_ways_to_sum_rows_agree_in_value_and_gradient() -> None:
    torch.manual_seed(0)
    table = torch.randn(50, 3, dtype=torch.float64, requires_grad=True)
    indices = torch.randint(50, (40, 8))
    weights = torch.rand(40, 8, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(40, 3, dtype=torch.float64)
    ways = (
        weighted_rows(table, indices, weights),
        (table[indices] * weights[..., None]).sum(1),
        F.embedding_bag(indices, table, per_sample_weights=weights, mode="sum"),
    )
    gradients = [torch.autograd.grad(way, (table, weights), upstream) for way in ways]
    for way, gradient in zip(ways[1:], gradients[1:], strict=True):
        torch.testing.assert_close(way, ways[0])
        torch.testing.assert_close(gradient, gradients[0])
    assert torch.autograd.gradcheck(lambda t, w: weighted_rows(t, indices, w), (table, weights))


def test_resolutions_grow_geometrically() -> None:
    assert HashConfig(levels=14, coarsest=16, finest=2048).resolutions[:3] == [16, 23, 33]
    assert HashConfig(levels=14, coarsest=16, finest=2048).resolutions[-1] == 2048
    with pytest.raises(ValueError, match="coarsest"):
        HashConfig(coarsest=200)
