"""The lapped transform starts orthonormal, and compacts smooth signals better than blocks do."""

from __future__ import annotations

import torch

from nerf.compression.grids.lapped import Lapped, boundary_filter, by_frequency, cosines, filtered


def test_a_transform_is_undone() -> None:
    lapped = Lapped(8, by_frequency(8, 0, 14, (0, 1, 2)), colours=True)
    values = torch.randn(2, 3, 32, 48)
    coefficients = lapped.analyse(values)
    assert coefficients.shape == (2, 192, 4, 6)
    torch.testing.assert_close(lapped.synthesise(coefficients), values, atol=1e-4, rtol=0)
    torch.testing.assert_close(coefficients.square().sum(), values.square().sum(), rtol=1e-4, atol=0)


def test_coding_gain_is_the_published_one() -> None:
    size, width = 8, 64
    correlation = 0.95 ** (torch.arange(width)[:, None] - torch.arange(width)).abs().double()

    def gain(filter_: torch.Tensor) -> float:
        rows = filtered(torch.eye(width, dtype=torch.float64)[:, None], filter_)[:, 0]
        blocks = cosines(size) @ rows.T[3 * size : 4 * size]
        variances = (blocks @ correlation @ blocks.T).diagonal()
        return float(10 * (variances.mean() / variances.log().mean().exp()).log10())

    assert abs(gain(torch.eye(size, dtype=torch.float64)) - 8.83) < 0.01
    assert gain(boundary_filter(size)) > 9.2


def test_frequencies_are_ordered_and_complete() -> None:
    found = by_frequency(4, 0, 6, (0, 1))
    assert len(set(found)) == 32
    assert [u + v for _, u, v in found] == sorted(u + v for _, u, v in found)
    assert by_frequency(8, 1, 1, (0,)) == [(0, 0, 1), (0, 1, 0)]
