"""Relative entropy coding: an index that tells a sample of the posterior among shared samples of the prior.

Depth-limited A* coding with a global bound (arXiv 2201.12857): candidates z_1, z_2, ... come from the prior in an order
that both sides know, each with a Gumbel number that falls from one candidate to the next; the index is that of the
largest sum of Gumbel number and log ratio log q(z) - log p(z).
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


def log_ratios(
    normals: Float[Tensor, "candidates d"], mean: Float[Tensor, "n d"], std: Float[Tensor, "n d"]
) -> Float[Tensor, "n candidates"]:
    """log q(z) - log p(z) of standard normal candidates for n posteriors at once, by matrix products.

    The prior is standard normal: posteriors are in units of theirs. With r = std^-2 the logarithm, summed over d, is
    0.5 z^2 (1 - r) + z r mean - 0.5 r mean^2 + 0.5 log r.
    """
    ratio = std**-2
    constant = (0.5 * (ratio.log() - ratio * mean.square())).sum(1, keepdim=True)
    # A row for each posterior: with a column for each, these products take three times longer.
    linear = torch.addmm(constant, ratio * mean, normals.T)
    return torch.addmm(linear, 0.5 * (1 - ratio), normals.square().T)


def falling_gumbels(count: int, rows: int, generator: np.random.Generator) -> Float[Tensor, "rows count"]:
    """Gumbel numbers, each at most the one before: minus logarithms of the arrivals of a Poisson process.

    Only an encoder needs them, and they need not be the same anywhere else.
    """
    waits = torch.from_numpy(generator.standard_exponential((rows, count)))
    return -waits.cumsum(1).log()


def choose(
    normals: Float[Tensor, "candidates d"],
    mean: Float[Tensor, "n d"],
    std: Float[Tensor, "n d"],
    generator: np.random.Generator,
) -> Int[Tensor, " n"]:
    """The index of each of n posteriors among candidates that they share, [n]."""
    gumbels = falling_gumbels(len(normals), len(mean), generator)
    return (log_ratios(normals, mean, std) + gumbels).argmax(1)
