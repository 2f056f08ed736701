"""The Gaussian of a table of codes against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nerf.conditional import CodeDistribution


def table(count: int = 500) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.tensor([[1.0, 0.4, 0.0], [0.0, 0.5, 0.2], [0.0, 0.0, 2.0]])
    return torch.randn(count, 3, generator=generator) @ mixing + torch.tensor([1.0, -2.0, 3.0])


def test_samples_have_the_tables_mean_and_covariance() -> None:
    codes = table()
    drawn = CodeDistribution(codes).sample(100_000, torch.Generator().manual_seed(1))
    np.testing.assert_allclose(drawn.mean(0), codes.mean(0), atol=0.03)
    covariance = np.cov(codes.numpy().T)
    floor = 0.02 * covariance.diagonal().mean() * np.eye(3)
    np.testing.assert_allclose(np.cov(drawn.numpy().T), covariance + floor, atol=0.06)


def test_distance_is_mahalanobis() -> None:
    codes = table()
    covariance = np.cov(codes.numpy().T)
    covariance += 0.02 * covariance.diagonal().mean() * np.eye(3)
    offset = codes.numpy() - codes.numpy().mean(0)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", offset, np.linalg.inv(covariance), offset))
    gaussian = CodeDistribution(codes)
    np.testing.assert_allclose(gaussian.mahalanobis(codes), expected, rtol=1e-4)
    np.testing.assert_allclose(gaussian.mahalanobis(codes[3]), expected[3], rtol=1e-4)


def test_whitening_is_undone() -> None:
    gaussian, codes = CodeDistribution(table()), table(40).view(4, 10, 3)
    torch.testing.assert_close(gaussian.unwhiten(gaussian.whiten(codes)), codes, atol=1e-4, rtol=1e-4)
    white = gaussian.whiten(table())
    torch.testing.assert_close(white.mean(0), torch.zeros(3), atol=1e-4, rtol=0)


def test_few_codes_do_and_one_does_not() -> None:
    """Fewer codes than dimensions: the covariance is still invertible."""
    few = CodeDistribution(torch.randn(3, 16, generator=torch.Generator().manual_seed(0)))
    assert few.sample(2, torch.Generator().manual_seed(0)).isfinite().all()
    with pytest.raises(ValueError, match="a Gaussian needs at least 2 codes, got 1"):
        CodeDistribution(torch.zeros(1, 4))


def test_gradients_lead_back_to_the_mean() -> None:
    gaussian = CodeDistribution(table())
    code = (gaussian.mean + 2).requires_grad_()
    before = gaussian.mahalanobis(code)
    (gradient,) = torch.autograd.grad(before, code)
    assert gaussian.mahalanobis(code - 0.1 * gradient) < before
