"""Relative entropy coding: a sample of the posterior as its index among samples of the prior that both sides can draw.

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
    """log q(z) - log p(z) of candidates z for n posteriors at once, by matrix products.

    The prior p is standard normal, since posteriors q are in units of the prior. With r = std^-2 the logarithm, summed
    over d, is 0.5 z^2 (1 - r) + z r mean - 0.5 r mean^2 + 0.5 log r.
    """
    ratio = std**-2
    constant = (0.5 * (ratio.log() - ratio * mean.square())).sum(1, keepdim=True)
    # One row for each posterior: with one column for each, these products take three times longer.
    linear = torch.addmm(constant, ratio * mean, normals.T)
    return torch.addmm(linear, 0.5 * (1 - ratio), normals.square().T)


def falling_gumbels(count: int, rows: int, generator: np.random.Generator) -> Float[Tensor, "rows count"]:
    """Gumbel numbers in falling order: minus the logarithms of the arrival times of a Poisson process.

    Only an encoder needs them; a decoder does not have to draw the same ones.
    """
    waits = torch.from_numpy(generator.standard_exponential((rows, count)))
    return -waits.cumsum(1).log()


def choose(
    normals: Float[Tensor, "candidates d"],
    mean: Float[Tensor, "n d"],
    std: Float[Tensor, "n d"],
    generator: np.random.Generator,
) -> Int[Tensor, " n"]:
    """The index of each of n posteriors among candidates that they share."""
    gumbels = falling_gumbels(len(normals), len(mean), generator)
    return (log_ratios(normals, mean, std) + gumbels).argmax(1)
