"""The start of prior learning: the best linear code of Gaussian data, at each rate.

For a principal component x of variance v, squared error plus beta nats of information is least for the posterior of
x / sqrt(v) observed with noise of variance beta / (2 v): its own variance is s^2 = beta / (2 v + beta) and the
information is -log s. This is reverse water-filling, with the noise of posterior samples instead of a quantizer's.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ..description import Description
from ..model.amortiser import Amortiser, analyse
from ..model.gaussians import DiagonalGaussian, choose_component, posterior_from_observation
from ..model.network import Representation, split
from ..model.priors import Priors

ROUNDS, ROWS = 8, 256
"""Rounds of fitting a mixture, and patches that are compared with it at a time."""


@torch.no_grad()
def start_linear(
    description: Description,
    data: Float[Tensor, "n channels ..."],
    network: Representation,
    amortiser: Amortiser,
    priors: Priors,
) -> None:
    """Set the transform to principal components, and noise, priors and beta of each rate to their optimum for it."""
    components, variances = principal_components(data, description)
    shape = (description.latent_channels, description.channels, *description.block)
    root = variances.sqrt()[:, None]
    points = components.shape[1]
    network.transform.basis.copy_((components * math.sqrt(points)).view(shape))
    network.transform.scale.copy_(root[:, 0] / math.sqrt(points))
    positions = math.prod(description.latent)
    grid = description.tiling(tuple(data.shape[2:])).grid
    patches = split(data, grid).flatten(0, 1)
    observed = analyse(patches, network.transform.weight).flatten(1)
    spread = root.repeat(1, positions).flatten()
    weights = sum(description.weight_sizes)
    mixture, width = priors.layout[0]
    for rate, budget in enumerate(description.budgets):
        beta = water_level(variances, budget / positions)
        amortiser.log_std[rate] = 0.5 * (beta / (2 * variances)).log()[:, None]
        priors.log_beta[rate] = math.log(beta)
        std, share = mixture_of(observed, spread, beta, mixture)
        priors.std[rate, : mixture * width].view(mixture, width)[:, weights:] = std
        priors.share[rate] = share


def mixture_of(
    observed: Float[Tensor, "r e"], spread: Float[Tensor, " e"], beta: float, count: int
) -> tuple[Float[Tensor, "k e"], Float[Tensor, " k"]]:
    """Standard deviations of a mixture's components and their shares: expectation maximization with hard choices.

    Args:
        observed: encodings of every patch, in units of their standard deviation.
        spread: that standard deviation in the units of the data.
        beta: squared error traded for a nat of information; it sets the noise of observations.
        count: number of components; they start with equally many patches, from the least information to the most.
    """
    log_std = (math.sqrt(beta / 2) / spread).log().expand_as(observed)
    information = (observed.square() / (2 * log_std).exp()).log1p().sum(1)
    chosen = information.argsort().argsort() * count // len(information)
    std = observed.new_ones(count, observed.shape[1])
    for last in reversed(range(ROUNDS)):
        prior = DiagonalGaussian(torch.zeros_like(observed), std[chosen])
        mean, posterior = posterior_from_observation(prior, observed, log_std)
        square = mean.square() + (2 * posterior).exp()
        sizes = 1.0 + chosen.bincount(minlength=count)
        std = (torch.ones_like(std).index_add_(0, chosen, square) / sizes[:, None]).sqrt()
        share = sizes / sizes.sum()
        if last:
            prior, rows = DiagonalGaussian(torch.zeros_like(std), std), (observed.split(ROWS), log_std.split(ROWS))
            chosen = torch.cat([choose_component(prior, -share.log2(), *pair) for pair in zip(*rows, strict=True)])
    return std, share


def principal_components(
    data: Float[Tensor, "n channels ..."], description: Description
) -> tuple[Float[Tensor, "c points"], Float[Tensor, " c"]]:
    """Directions of the largest mean squares of the data's blocks, and these mean squares."""
    grid = tuple(size // side for size, side in zip(data.shape[2:], description.block, strict=True))
    whole = tuple(slice(count * side) for count, side in zip(grid, description.block, strict=True))
    blocks = split(data[(slice(None), slice(None), *whole)], grid).flatten(0, 1).flatten(1)
    values, vectors = torch.linalg.eigh((blocks.T @ blocks / len(blocks)).double())
    count = description.latent_channels
    return vectors.T.flip(0)[:count].float(), values.flip(0)[:count].clamp_min(1e-8).float()


def water_level(variances: Float[Tensor, " c"], bits: float) -> float:
    """The beta at which Gaussian components have ``bits`` bits of information together."""
    low, high = 1e-12, 1e6
    for _ in range(100):
        beta = math.sqrt(low * high)
        information = float((-0.5 * (beta / (2 * variances + beta)).log2()).sum())
        low, high = (beta, high) if information > bits else (low, beta)
    return low
