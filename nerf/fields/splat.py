"""Gaussian splats: a cloud of coloured Gaussians (3D Gaussian Splatting, arXiv 2308.04079)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .base import Field, spherical_harmonics

MOST_SPLATS = 20_000_000
"""Largest number of Gaussians: a damaged file must not ask for more."""


@dataclass(frozen=True)
class SplatConfig:
    """Sizes of a cloud of Gaussians."""

    count: int = 10_000
    """Gaussians."""
    degree: int = 1
    """Degree of the spherical harmonics of the colours, 0..3: 1, 4, 9 or 16 coefficients for each channel."""

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST_SPLATS:
            raise ValueError(f"count must be in 1..{MOST_SPLATS} Gaussians, got {self.count}")
        if not 0 <= self.degree <= 3:
            raise ValueError(f"degree of the spherical harmonics must be in 0..3, got {self.degree}")


PRESETS = {"small": SplatConfig(), "paper": SplatConfig(count=200_000, degree=3)}


class SplatField(Field):
    """Gaussians with a mean, three scales, a rotation, an opacity and a colour that depends on the direction.

    New ones are small, faint and grey, at random places of the box.
    """

    name = "splat"
    config: SplatConfig

    def __init__(self, bounds: Float[Tensor, "2 3"], config: SplatConfig):
        super().__init__(bounds, config)
        n, extent = config.count, bounds[1] - bounds[0]
        self.means = nn.Parameter(bounds[0] + torch.rand(n, 3) * extent)
        # Half the distance between neighbours, were they spread evenly.
        between = float(extent.prod() / n) ** (1 / 3)
        self.log_scales = nn.Parameter(torch.full((n, 3), between / 2).log())
        self.quaternions = nn.Parameter(torch.nn.functional.normalize(torch.randn(n, 4), dim=-1))
        self.opacity_logits = nn.Parameter(torch.full((n,), -2.2))
        self.harmonics = nn.Parameter(torch.zeros(n, (config.degree + 1) ** 2, 3))
        """Coefficients of orthonormal spherical harmonics; 0.5 is added to their sum."""

    @classmethod
    def from_state(cls, config: Any, state: Mapping[str, Tensor]) -> Self:
        """A cloud from its configuration and the tensors of a ``state_dict``, without drawing random ones first."""
        if state["means"].shape != (config.count, 3):
            raise ValueError(f"means must have the shape [{config.count}, 3], got {list(state['means'].shape)}")
        return super().from_state(config, state)

    def rates(self) -> Mapping[str, float]:
        """Positions learn in units of the box; rotations and the colours' finer bands learn slowly."""
        extent = float((self.bounds[1] - self.bounds[0]).max())
        return {"means": 0.05 * extent, "log_scales": 1.0, "quaternions": 0.5, "opacity_logits": 5.0, "harmonics": 0.5}

    def colors(self, directions: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """RGB, at least 0, of the Gaussians seen along unit vectors, one for each."""
        basis = spherical_harmonics(directions, self.config.degree + 1)
        return (0.5 + (basis[:, :, None] * self.harmonics).sum(1)).clamp(min=0)
