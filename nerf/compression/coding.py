"""Relative entropy coding: an index that tells a sample of the posterior among shared samples of the prior.

Depth-limited A* coding with a global bound (arXiv 2201.12857): candidates z_1, z_2, ... come from the prior in an order
that both sides know, each with a Gumbel number that falls from one candidate to the next; the index is that of the
largest sum of Gumbel number and log ratio log q(z) - log p(z).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def log_ratios(
    normals: Float[Tensor, "candidates d"], mean: Float[Tensor, "n d"], std: Float[Tensor, "n d"]
) -> Float[Tensor, "candidates n"]:
    """log q(z) - log p(z) of standard normal candidates for n posteriors at once, by one matrix product.

    The prior is standard normal: posteriors are in units of theirs. With r = std^-2 the logarithm, summed over d, is
    0.5 z^2 (1 - r) + z r mean - 0.5 r mean^2 + 0.5 log r.
    """
    ratio = std**-2
    constant = (0.5 * (ratio.log() - ratio * mean.square())).sum(1)
    factors = torch.cat([0.5 * (1 - ratio), ratio * mean], 1).T
    return torch.addmm(constant, torch.cat([normals.square(), normals], 1), factors)


def falling_gumbels(count: int, rows: int, generator: torch.Generator) -> Float[Tensor, "count rows"]:
    """Gumbel numbers, each at most the one before: minus logarithms of the arrivals of a Poisson process.

    Only an encoder needs them, and they need not be the same anywhere else.
    """
    waits = torch.empty(count, rows, dtype=torch.float64).exponential_(generator=generator)
    return -waits.cumsum(0).log()


def choose(
    normals: Float[Tensor, "candidates d"],
    mean: Float[Tensor, "n d"],
    std: Float[Tensor, "n d"],
    generator: torch.Generator,
) -> Int[Tensor, " n"]:
    """The index of each of n posteriors among candidates that they share, [n]."""
    gumbels = falling_gumbels(len(normals), len(mean), generator)
    return (log_ratios(normals, mean, std) + gumbels).argmax(0)
