"""Where prior learning starts: the best linear code of Gaussian data, at each rate.

For principal components of variance v, coded as z = (1 - s^2) x / sqrt(v) plus noise of standard deviation s, squared
error plus beta nats of information is least at s^2 = beta / (2 v + beta), and the information is -log s: reverse
water-filling, with the prior's noise in place of a quantizer's.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from .amortiser import Amortiser
from .descriptions import Description
from .network import Representation, split
from .priors import Priors


@torch.no_grad()
def start_linear(
    description: Description,
    data: Float[Tensor, "n channels ..."],
    network: Representation,
    amortiser: Amortiser,
    priors: Priors,
) -> None:
    """Put principal components into transform and analysis, and each rate's best gains, noise and beta beside them."""
    components, variances = principal_components(data, description)
    shape = (description.latent_channels, description.channels, *description.block)
    root = variances.sqrt()[:, None]
    network.transform.weight.copy_((components * root).view(shape))
    amortiser.analysis.weight.copy_((components / root).view(shape))
    positions = math.prod(description.latent)
    for rate, budget in enumerate(description.budgets):
        beta = water_level(variances, budget / positions)
        noise = beta / (2 * variances + beta)
        amortiser.gain[rate] = (1 - noise)[:, None]
        amortiser.log_std[rate] = 0.5 * noise.log()[:, None]
        priors.log_beta[rate] = math.log(beta)


def principal_components(
    data: Float[Tensor, "n channels ..."], description: Description
) -> tuple[Float[Tensor, "c points"], Float[Tensor, " c"]]:
    """Directions of the data's blocks with the largest mean squares, and these mean squares."""
    grid = tuple(size // side for size, side in zip(data.shape[2:], description.block, strict=True))
    whole = tuple(slice(count * side) for count, side in zip(grid, description.block, strict=True))
    blocks = torch.cat([split(datum[(slice(None), *whole)], grid, description.block) for datum in data]).flatten(1)
    values, vectors = torch.linalg.eigh((blocks.T @ blocks / len(blocks)).double())
    count = description.latent_channels
    return vectors.T.flip(0)[:count].float(), values.flip(0)[:count].clamp_min(1e-8).float()


def water_level(variances: Float[Tensor, " c"], bits: float) -> float:
    """The beta at which Gaussian components carry so many bits together."""
    low, high = 1e-12, 1e6
    for _ in range(100):
        beta = math.sqrt(low * high)
        information = float((-0.5 * (beta / (2 * variances + beta)).log2()).sum())
        low, high = (beta, high) if information > bits else (low, beta)
    return low
