"""Sparse voxel grid with spherical harmonics (Plenoxels, arXiv 2112.05131); PVD's "tensors"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from .base import EMPTY, SphericalHead, VolumeField
from .interpolation import combine, corners, weighted_rows

COLORS = 27
"""Nine spherical harmonics for each of three channels."""


@dataclass(frozen=True, kw_only=True)
class VoxelConfig:
    """Sizes of a voxel grid."""

    resolution: int = 48
    """Nodes along an axis."""

    def __post_init__(self) -> None:
        if self.resolution < 2:
            raise ValueError(f"resolution must be at least 2 nodes, got {self.resolution}")


class VoxelField(VolumeField):
    """Log-density and 27 colour coefficients at the nodes that are kept, interpolated trilinearly.

    ``rows`` maps nodes [z, y, x] to rows of ``values``; pruned nodes have row 0, which stays empty.
    """

    name = "voxel"
    resizable = prunable = True
    learned_head = False
    rows: Tensor
    empty: Tensor

    def __init__(self, bounds: Float[Tensor, "2 3"], config: VoxelConfig, kept: Bool[Tensor, "z y x"] | None = None):
        super().__init__(bounds, config)
        size = (config.resolution,) * 3
        kept = torch.ones(size, dtype=torch.bool) if kept is None else kept
        rows = torch.zeros(size, dtype=torch.int64)
        rows[kept] = torch.arange(1, int(kept.sum()) + 1)
        self.register_buffer("rows", rows)
        self.register_buffer("empty", torch.tensor([[EMPTY] + [0.0] * COLORS]))
        self.values = nn.Parameter(0.02 * torch.randn(int(kept.sum()), 1 + COLORS))
        self.head = SphericalHead()

    @classmethod
    def from_state(cls, config: VoxelConfig, state: Mapping[str, Tensor]) -> Self:
        field = cls(state["bounds"], config, kept=state["rows"] > 0)
        field.load_state_dict(state)
        return field

    @property
    def feature_size(self) -> int:
        return 1 + COLORS

    def encode(self, unit: Float[Tensor, "n 3"]) -> Float[Tensor, "n f"]:
        size = self.config.resolution
        x, y, z, weights = corners(unit, size - 1)
        nodes = combine(x, y * size, z * size**2, "add")
        return weighted_rows(torch.cat([self.empty, self.values]), self.rows.take(nodes.T), weights.T)

    def rates(self) -> Mapping[str, float]:
        return {"values": 10.0}

    def regularization(self) -> dict[str, Tensor]:
        """Total variation over neighbouring kept nodes (equation 3)."""
        total, count = self.values.new_zeros(()), 0
        for axis in range(3):
            first, second = self.rows.narrow(axis, 0, len(self.rows) - 1), self.rows.narrow(axis, 1, len(self.rows) - 1)
            both = (first > 0) & (second > 0)
            steps = self.values[first[both] - 1] - self.values[second[both] - 1]
            total, count = total + steps.square().sum(), count + steps.numel()
        return {"total_variation": total / max(count, 1)}

    def dense(self) -> Float[Tensor, "f r r r"]:
        """The whole grid, indexed [feature, z, y, x]."""
        return torch.cat([self.empty, self.values])[self.rows].permute(3, 0, 1, 2)

    def pruned(self, threshold: float) -> VoxelField:
        """The field without the nodes that, like all their neighbours, have a density below ``threshold``.

        Raises:
            ValueError: nothing would be left.
        """
        density = self.dense()[:1].detach().exp()
        kept = F.max_pool3d(density[None], 3, stride=1, padding=1)[0, 0] >= threshold
        kept &= self.rows > 0
        if not kept.any():
            raise ValueError(f"no voxel has a density of {threshold} or more: lower the pruning threshold")
        return self._with_nodes(kept, self.dense().detach())

    def resized(self, resolution: int) -> VoxelField:
        """The same field with more or fewer nodes, by trilinear interpolation; nodes in pruned cells stay out."""
        size = (resolution,) * 3
        dense = F.interpolate(self.dense().detach()[None], size=size, mode="trilinear", align_corners=True)[0]
        kept = F.interpolate((self.rows > 0).float()[None, None], size=size, mode="trilinear", align_corners=True)
        return VoxelField(self.bounds, VoxelConfig(resolution=resolution))._with_nodes(kept[0, 0] > 0, dense)

    def _with_nodes(self, kept: Bool[Tensor, "z y x"], dense: Float[Tensor, "f z y x"]) -> VoxelField:
        field = VoxelField(self.bounds, self.config, kept)
        field.values.data = dense.permute(1, 2, 3, 0)[kept].clone()
        return field


PRESETS = {
    "small": VoxelConfig(),
    "paper": VoxelConfig(resolution=256),
    "pvd": VoxelConfig(resolution=128),
}
