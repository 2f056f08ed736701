"""The Gaussian of a table of codes: it samples new codes and gives the Mahalanobis distance of a code."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from mappers.normalization import whiten

FLOOR = 0.02
"""Share of the mean variance that is added to every variance, so that the covariance of few codes is invertible."""


class CodeDistribution:
    """A Gaussian with the mean and the covariance of a table of codes.

    Args:
        codes: the table, at least two rows.

    Raises:
        ValueError: the table has fewer than two rows.
    """

    def __init__(self, codes: Float[Tensor, "n c"]):
        if len(codes) < 2:
            raise ValueError(f"a Gaussian needs at least 2 codes, got {len(codes)}")
        self.mean = codes.mean(0)
        covariance = torch.cov(codes.T.double()).view(codes.shape[1], -1)
        floor = FLOOR * covariance.diagonal().mean() + 1e-8
        self.factor = torch.linalg.cholesky(covariance + floor * torch.eye(len(covariance))).to(codes)
        """Lower triangular L with covariance L Lᵀ."""

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "count c"]:
        """Random codes: mean + L z with z ~ N(0, I)."""
        return self.mean + torch.randn(count, len(self.mean), generator=generator) @ self.factor.T

    def whiten(self, codes: Float[Tensor, "*n c"]) -> Float[Tensor, "*n c"]:
        """z = L⁻¹ (code - mean), which has mean 0 and covariance I over the table. Differentiable."""
        return whiten(codes, self.mean, self.factor)

    def unwhiten(self, z: Float[Tensor, "*n c"]) -> Float[Tensor, "*n c"]:
        """The inverse of `whiten`."""
        return self.mean + z @ self.factor.T

    def mahalanobis(self, codes: Float[Tensor, "*n c"]) -> Float[Tensor, "*n"]:
        """Distance from the mean in standard deviations; about √c for the table's codes. Differentiable."""
        return self.whiten(codes).square().sum(-1).clamp(min=1e-12).sqrt()
