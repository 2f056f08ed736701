"""Codes in standard deviations of the Gaussian that they came from."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def whitened(
    codes: Float[Tensor, "*n c"], mean: Float[Tensor, " c"], factor: Float[Tensor, "c c"]
) -> Float[Tensor, "*n c"]:
    """The z with codes = mean + factor z, where ``factor`` is lower triangular. Differentiable."""
    offset = (codes - mean).reshape(-1, len(mean))
    return torch.linalg.solve_triangular(factor, offset.T, upper=False).T.reshape(codes.shape)
