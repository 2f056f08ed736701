"""Ridge regression against least squares on rows that represent the penalty."""

from __future__ import annotations

import torch

from mappers.ridge import ridge_regression


def test_penalties_act_as_further_rows() -> None:
    """sqrt(penalty) on the diagonal, wanted to be zero, added to centred pairs; each column has its own."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(30, 5, generator=generator, dtype=torch.float64) + 3
    y = torch.randn(30, 2, generator=generator, dtype=torch.float64) - 1
    penalty = torch.tensor([0.1, 1.0, 5.0, 20.0, 0.0], dtype=torch.float64)
    weight, bias = ridge_regression(x, y, penalty)
    rows = torch.cat([x - x.mean(0), penalty.sqrt().diag()])
    wanted = torch.cat([y - y.mean(0), torch.zeros(5, 2, dtype=torch.float64)])
    torch.testing.assert_close(weight, torch.linalg.lstsq(rows, wanted).solution.T)
    torch.testing.assert_close(x.mean(0) @ weight.T + bias, y.mean(0))


def test_one_penalty_is_that_of_every_column() -> None:
    x, y = torch.randn(20, 3), torch.randn(20, 1)
    for one, each in zip(ridge_regression(x, y, 0.7), ridge_regression(x, y, torch.full((3,), 0.7)), strict=True):
        torch.testing.assert_close(one, each, atol=1e-6, rtol=0)
    assert float(ridge_regression(x, y, 1e9)[0].abs().max()) < 1e-6
