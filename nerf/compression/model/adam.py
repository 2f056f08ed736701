"""Adam as a function, for parameters that are not an optimizer's."""

from __future__ import annotations

from torch import Tensor

BETAS, EPS = (0.9, 0.99), 1e-12
"""Adam's. Its smallest denominator is tiny, so that a gradient's scale, such as the batch size, does not matter."""


def adam(gradient: Tensor, first: Tensor, second: Tensor, visits: Tensor | int) -> Tensor:
    """By how much values fall at a learning rate of 1. Both moments are updated in place.

    PyTorch's own would load its compiler first, which takes an encoder two seconds.

    Args:
        visits: gradients so far, this one included; of each value, or of all.
    """
    first.lerp_(gradient, 1 - BETAS[0])
    second.lerp_(gradient.square(), 1 - BETAS[1])
    return first / (1 - BETAS[0] ** visits) / ((second / (1 - BETAS[1] ** visits)).sqrt() + EPS)
