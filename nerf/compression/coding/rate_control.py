"""What an encoder needs to spend the bits that it has: what indices cost, and a search for the beta that fits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .indices import IndexCode

BISECTIONS = 20
"""Steps of a search."""
LARGEST_INFORMATION = 32
"""Bits of a block's information up to which costs are told apart."""


def expected_index_bits(code: IndexCode, candidate_bits: int) -> Callable[[Tensor], Tensor]:
    """Expected bits of an index by the information of its block.

    An index's exponent is taken for normal, of mean 0.8 and standard deviation 0.6 times the information, 3 at most,
    within the candidates' bits. That is a fit to coded blocks.
    """
    exponents = torch.arange(candidate_bits, dtype=torch.float32)
    sizes = torch.tensor([float(code.size((1 << exponent) - 1)) for exponent in range(candidate_bits)])
    information = torch.arange(LARGEST_INFORMATION + 1, dtype=torch.float32)[:, None]
    spread = (0.6 * information).clamp(0.1, 3.0)
    table = (-0.5 * ((exponents - 0.8 * information) / spread).square()).softmax(1) @ sizes

    def costs(information: Tensor) -> Tensor:
        place = information.clamp(0, LARGEST_INFORMATION - 1e-3)
        low = place.long()
        return torch.lerp(table[low], table[low + 1], place - low)

    return costs


def decreasing_root(function: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """Where functions that fall are zero, by bisection; the end that is nearer to it where they are not."""
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        above = function(middle) > 0
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return high
