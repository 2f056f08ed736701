"""Diagonal Gaussians: posteriors of latent numbers, their divergence from the prior, and the prior's update."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

SMALLEST_STD = 1e-4
"""Smallest standard deviation of a prior; latent numbers have unit scale at the start of training."""


@dataclass(frozen=True)
class DiagonalGaussian:
    """Independent normal numbers; ``mean`` and ``std`` have one shape."""

    mean: Tensor
    std: Tensor

    def __getitem__(self, index: object) -> DiagonalGaussian:
        return DiagonalGaussian(self.mean[index], self.std[index])  # pyright: ignore


def divergence_nats(mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(q || p) of every latent number in nats; q is in units of the prior, so that p is standard normal."""
    return 0.5 * ((2 * log_std).exp() + mean.square() - 1) - log_std


def divergence_bits(mean: Tensor, log_std: Tensor, prior: DiagonalGaussian) -> Tensor:
    """KL(q || p) of every latent number in bits, with q of ``mean`` and ``exp(log_std)``."""
    return divergence_nats((mean - prior.mean) / prior.std, log_std - prior.std.log()) / math.log(2)


def posterior_from_observation(prior: DiagonalGaussian, mean: Tensor, log_std: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log standard deviation of the posterior, given an observation ``mean`` with noise ``exp(log_std)``."""
    ratio = 2 * (prior.std.log() - log_std)
    return prior.mean + ratio.sigmoid() * (mean - prior.mean), log_std + 0.5 * functional.logsigmoid(ratio)


def shift_log_beta(mean: Tensor, log_std: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
    """A posterior, in units of the prior, after log beta has changed by ``change``.

    The posterior is taken to be that of a noisy observation, whose noise has a variance proportional to beta. This is
    exact where values are linear in the latent number.
    """
    variance = (2 * log_std).exp().clamp_max(1 - 1e-4)
    ratio = (variance / (1 - variance)).log()
    shrunk = (-ratio - change).sigmoid() / (1 - variance)
    return mean * shrunk, 0.5 * functional.logsigmoid(ratio + change)


def explained_nats(mean: Tensor, log_std: Tensor) -> Tensor:
    """Squared error over beta that a posterior, in units of the prior, saves compared with the prior's mean.

    Values are assumed to be linear in the latent number, as in `shift_log_beta`.
    """
    variance = (2 * log_std).exp()
    return mean.square() * (1 + variance) / (2 * variance) - (1 - variance) / 2


def choose_component(
    priors: DiagonalGaussian,
    costs: Float[Tensor, "*r k"],
    mean: Float[Tensor, "r d"],
    log_std: Float[Tensor, "r d"],
    reach: float = math.inf,
) -> Int[Tensor, " r"]:
    """The number of the prior under which each row of noisy observations is likeliest.

    Args:
        priors: [k, d], or of each row [r, k, d].
        costs: bits that the code of each prior takes.
        mean, log_std: the observations, and the logarithm of their noise's standard deviation.
        reach: the largest distance of a sample from a prior's mean, in standard deviations; beyond it the distance that
            remains counts as error.
    """
    noise = (2 * log_std).exp()[:, None]
    variance = priors.std.square() + noise
    distance = (mean[:, None] - priors.mean).abs()
    nats = 0.5 * (distance.square() / variance + variance.log()).sum(2)
    if reach < math.inf:
        beyond = (distance * priors.std.square() / variance - reach * priors.std).clamp_min(0)
        nats = nats + 0.5 * (beyond.square() / noise).sum(2)
    return (nats + math.log(2) * costs).argmin(1)


def aggregate_prior(
    count: Float[Tensor, " k #d"],
    mean: Float[Tensor, "k d"],
    square: Float[Tensor, "k d"],
    variance: Float[Tensor, "k d"],
) -> DiagonalGaussian:
    """The prior that best fits a set of posteriors, in closed form (arXiv 2309.17182, appendix A).

    Args:
        count: number of posteriors.
        mean: sum of their means.
        square: sum of the squares of their means.
        variance: sum of their variances.

    Returns:
        The mean of the means, and the root of the sum of mean variance and variance of the means.
    """
    average = mean / count
    spread = (square / count - average.square()).clamp_min(0)
    return DiagonalGaussian(average, (variance / count + spread).sqrt().clamp_min(SMALLEST_STD))
