"""A Gaussian fitted to a table of codes: new codes are drawn from it, and it tells how usual a code is."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from mappers.normalization import whiten

FLOOR = 0.02
"""Share of the mean variance that is added to all, so that few codes still have a full covariance."""


class CodeDistribution:
    """Mean and covariance of codes.

    Args:
        codes: the table, at least two rows.
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
        """Codes: z ~ N(0, I) mapped by mean and covariance."""
        return self.mean + torch.randn(count, len(self.mean), generator=generator) @ self.factor.T

    def whiten(self, codes: Float[Tensor, "*n c"]) -> Float[Tensor, "*n c"]:
        """The z that codes came from; standard normal for codes like the table's. Differentiable."""
        return whiten(codes, self.mean, self.factor)

    def unwhiten(self, z: Float[Tensor, "*n c"]) -> Float[Tensor, "*n c"]:
        """The inverse of `whiten`."""
        return self.mean + z @ self.factor.T

    def mahalanobis(self, codes: Float[Tensor, "*n c"]) -> Float[Tensor, "*n"]:
        """Distance from the mean in standard deviations: about the root of c for usual codes. Differentiable."""
        return self.whiten(codes).square().sum(-1).clamp(min=1e-12).sqrt()
