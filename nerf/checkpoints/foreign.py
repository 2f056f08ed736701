"""What fields of other programs have in common: a density that is not ours, and colours of spherical harmonics."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor, nn

from ..fields.base import EMPTY, other_signs, spherical_harmonics


def log_density(density: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The logarithm of densities per unit length, not below that of empty space."""
    return density.clamp(min=math.exp(EMPTY)).log()


class OffsetHarmonics(nn.Module):
    """RGB from coefficients of each channel's harmonics: 0.5 is added to their sum, and it is at least 0.

    Their signs are those of other programs, `other_signs`.
    """

    def __init__(self, bands: int):
        super().__init__()
        self.bands = bands

    def forward(self, features: Float[Tensor, "n f"], views: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """RGB of features, channel by channel, seen along unit vectors."""
        basis = spherical_harmonics(views, self.bands) * other_signs(self.bands**2).to(views)
        return (0.5 + (features.unflatten(-1, (3, -1)) * basis[:, None]).sum(-1)).clamp(min=0)
