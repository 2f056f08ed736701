"""Adam as a function, for parameters outside an optimizer."""

from __future__ import annotations

from torch import Tensor

BETAS, EPS = (0.9, 0.99), 1e-12
"""Adam's constants. Epsilon is tiny, so that the scale of gradients, such as that of the batch size, has no effect."""


def adam(gradient: Tensor, first: Tensor, second: Tensor, visits: Tensor | int) -> Tensor:
    """The decrease of values at a learning rate of 1. Both moments are updated in place.

    PyTorch's Adam loads its compiler first, which would add two seconds to every encoding.

    Args:
        gradient: of the values.
        first, second: their moments, zero at first.
        visits: number of gradients so far, this one included; of each value, or of all.
    """
    first.lerp_(gradient, 1 - BETAS[0])
    second.lerp_(gradient.square(), 1 - BETAS[1])
    return first / (1 - BETAS[0] ** visits) / ((second / (1 - BETAS[1] ** visits)).sqrt() + EPS)
