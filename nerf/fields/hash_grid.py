"""Multiresolution hash grid (instant-ngp, arXiv 2201.05989)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .base import ColorHead, VolumeField, feature_net
from .interpolation import combine, corners, weighted_rows

PRIMES = (1, 2654435761, 805459861)
"""Factors of the spatial hash (equation 4)."""


@dataclass(frozen=True, kw_only=True)
class HashConfig:
    """Sizes of a hash grid."""

    levels: int = 8
    """Grids, from coarse to fine."""
    level_features: int = 2
    """Numbers at a node of a level."""
    coarsest: int = 16
    """Cells along an axis of the first level."""
    finest: int = 128
    """Cells along an axis of the last level."""
    table_log2: int = 14
    """Base-2 logarithm of a level's table size; levels with fewer nodes need no hashing."""

    def __post_init__(self) -> None:
        for name, most in (("levels", 64), ("level_features", 64)):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be in 1..{most}, got {getattr(self, name)}")
        if not 1 <= self.coarsest <= self.finest:
            raise ValueError(f"coarsest must be in 1..finest, got {self.coarsest} and {self.finest}")
        if not 4 <= self.table_log2 <= 24:
            raise ValueError(f"table_log2 must be in 4..24, got {self.table_log2}")

    @property
    def resolutions(self) -> list[int]:
        """Cells along an axis of every level, growing geometrically (equations 2 and 3)."""
        growth = (self.finest / self.coarsest) ** (1 / max(self.levels - 1, 1))
        return [int(self.coarsest * growth**level + 1e-6) for level in range(self.levels)]


class HashEncoding(nn.Module):
    """Points of the unit cube to levels x level_features numbers.

    All levels share one table; a level that has fewer nodes than ``2**table_log2`` is stored densely.
    """

    def __init__(self, config: HashConfig):
        super().__init__()
        self.config = config
        size = 2**config.table_log2
        sizes = [min((resolution + 1) ** 3, size) for resolution in config.resolutions]
        self.starts = [sum(sizes[:level]) for level in range(config.levels)]
        self.hashed = [(resolution + 1) ** 3 > size for resolution in config.resolutions]
        self.table = nn.Parameter(torch.empty(sum(sizes), config.level_features).uniform_(-1e-4, 1e-4))

    def forward(self, unit: Float[Tensor, "n 3"]) -> Float[Tensor, "n f"]:
        indices, weights = [], []
        mask = 2**self.config.table_log2 - 1
        for resolution, start, hashed in zip(self.config.resolutions, self.starts, self.hashed, strict=True):
            x, y, z, weight = corners(unit, resolution)
            if hashed:
                index = combine(x, y * PRIMES[1], z * PRIMES[2], "xor") & mask
            else:
                index = combine(x, y * (resolution + 1), z * (resolution + 1) ** 2, "add")
            indices.append(index + start)
            weights.append(weight)
        by_point = [torch.stack(values).permute(2, 0, 1).reshape(-1, 8) for values in (indices, weights)]
        rows = weighted_rows(self.table, *by_point)
        return rows.view(len(unit), self.config.levels * self.config.level_features)


class HashField(VolumeField):
    """Hash encoding, a small network to 16 features, and the learned colour head."""

    name = "hash"

    def __init__(self, bounds: Float[Tensor, "2 3"], config: HashConfig):
        super().__init__(bounds, config)
        self.encoding = HashEncoding(config)
        self.net = feature_net(config.levels * config.level_features)
        self.head = ColorHead()

    def encode(self, unit: Float[Tensor, "n 3"]) -> Float[Tensor, "n f"]:
        return self.net(self.encoding(unit))


PRESETS = {
    "small": HashConfig(),
    "paper": HashConfig(levels=16, finest=2048, table_log2=19),
    "pvd": HashConfig(levels=14, finest=2048, table_log2=19),
}
