"""Linear maps in closed form: ridge regression."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def ridge_regression(
    x: Float[Tensor, "n d"], y: Float[Tensor, "n c"], penalty: float | Float[Tensor, " d"]
) -> tuple[Float[Tensor, "c d"], Float[Tensor, " c"]]:
    """Weight and bias of least squared error, in double precision.

    Args:
        x: inputs, a row for each sample.
        y: targets, a row for each sample.
        penalty: of squared weights, one for all or one for each column of ``x``; the bias has none.
    """
    x, y = x.double(), y.double()
    x_mean, y_mean = x.mean(0), y.mean(0)
    x = x - x_mean
    penalties = torch.as_tensor(penalty, dtype=x.dtype, device=x.device).expand(x.shape[1])
    weight = torch.linalg.solve(x.T @ x + penalties.diag(), x.T @ (y - y_mean)).T
    return weight, y_mean - weight @ x_mean
