"""Low-rank tensors (TensoRF, arXiv 2203.09517): vector-matrix (VM) and canonical polyadic (CP) decompositions."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .base import ColorHead, VolumeField

PLANES = ((0, 1), (0, 2), (1, 2))
"""Axes of each matrix of VM, first the one that runs along its columns."""
LINES = (2, 1, 0)
"""The axis of the vector that goes with each matrix."""
NET_RATE = 0.05
"""Learning rate of the small matrices relative to the factors': 1e-3 to 2e-2, as in the paper."""


@dataclass(frozen=True, kw_only=True)
class LowRankConfig:
    """Sizes of a decomposition."""

    resolution: int
    """Nodes along an axis."""
    density_rank: int
    """Components of the density; for each of the three axes in VM."""
    color_rank: int
    """Components of the colour features; for each of the three axes in VM."""

    def __post_init__(self) -> None:
        if self.resolution < 2:
            raise ValueError(f"resolution must be at least 2 nodes, got {self.resolution}")
        if self.density_rank < 1 or self.color_rank < 1:
            raise ValueError(f"ranks must be at least 1, got {self.density_rank} and {self.color_rank}")


def _on_lines(lines: Float[Tensor, "3 r l"], unit: Float[Tensor, "n 3"]) -> Float[Tensor, "3 r n"]:
    """Each axis' vectors, interpolated linearly at its coordinate."""
    at = torch.stack([torch.zeros_like(unit), unit * 2 - 1], -1).transpose(0, 1)[:, :, None]  # [3, n, 1, 2]
    return F.grid_sample(lines[..., None], at, align_corners=True).squeeze(-1)


class LowRankField(VolumeField):
    """Base class of VM and CP; it is not a family itself."""

    resizable = shrinkable = True
    config: LowRankConfig
    lines: nn.Parameter
    """Vectors along one axis each, [3, rank, nodes]."""
    along: ClassVar[tuple[int, int, int]]
    """The axes of ``lines``."""
    basis: nn.Linear

    def rates(self) -> Mapping[str, float]:
        return {"basis": NET_RATE, "head": NET_RATE}

    def resized(self, resolution: int) -> Self:
        """The same field with more or fewer nodes, by linear interpolation of its factors."""
        return self.shrunk(self.bounds, resolution)

    def shrunk(self, bounds: Float[Tensor, "2 3"], resolution: int) -> Self:
        """The same field in a smaller box (section 4).

        Equal at the new nodes, and between them too where every old node in the box is one of the new ones.
        """
        field = type(self)(bounds, dataclasses.replace(self.config, resolution=resolution))
        field.basis, field.head = copy.deepcopy(self.basis), copy.deepcopy(self.head)
        low, high = self.unit(bounds)
        nodes = low + torch.linspace(0, 1, resolution, device=low.device)[:, None] * (high - low)  # on every axis
        with torch.no_grad():
            field._interpolate(self, nodes)
        return field

    def _interpolate(self, other: Self, nodes: Float[Tensor, "l 3"]) -> None:
        """Take over the factors of ``other`` at coordinates of its unit cube."""
        self.lines.copy_(_on_lines(other.lines, nodes[:, self.along]))


class VMField(LowRankField):
    """Sums of products of a matrix over two axes and a vector over the third (equation 3)."""

    name = "vm"
    along = LINES

    def __init__(self, bounds: Float[Tensor, "2 3"], config: LowRankConfig):
        super().__init__(bounds, config)
        rank, size = config.density_rank + config.color_rank, config.resolution
        self.planes = nn.Parameter(0.1 * torch.randn(3, rank, size, size))
        self.lines = nn.Parameter(0.1 * torch.randn(3, rank, size))
        self.basis = nn.Linear(3 * config.color_rank, 15, bias=False)
        self.head = ColorHead()

    def encode(self, unit: Float[Tensor, "n 3"]) -> Float[Tensor, "n f"]:
        centered = unit * 2 - 1
        at = torch.stack([centered[:, axes] for axes in PLANES])[:, :, None]  # [3, n, 1, 2]
        planes = F.grid_sample(self.planes, at, align_corners=True).squeeze(-1)
        products = planes * _on_lines(self.lines, unit[:, self.along])  # [3, rank, n]
        density, color = products.split([self.config.density_rank, self.config.color_rank], 1)
        return torch.cat([density.sum((0, 1))[:, None], self.basis(color.flatten(0, 1).T)], -1)

    def regularization(self) -> dict[str, Tensor]:
        """L1 of the density factors (section 4.2), and the total variation of the matrices."""
        density = self.config.density_rank
        l1 = self.planes[:, :density].abs().mean() + self.lines[:, :density].abs().mean()
        variation = self.planes.diff(dim=-1).square().mean() + self.planes.diff(dim=-2).square().mean()
        return {"l1": l1, "total_variation": variation}

    def dense(self) -> Float[Tensor, "k r r r"]:
        """Both tensors at every node, indexed [component, z, y, x]: density, then the components of colour."""
        parts = [
            torch.einsum("ryx,rz->rzyx", self.planes[0], self.lines[0]),
            torch.einsum("rzx,ry->rzyx", self.planes[1], self.lines[1]),
            torch.einsum("rzy,rx->rzyx", self.planes[2], self.lines[2]),
        ]
        rank = self.config.density_rank
        density = torch.stack([part[:rank].sum(0) for part in parts]).sum(0, keepdim=True)
        return torch.cat([density, *(part[rank:] for part in parts)])

    def _interpolate(self, other: Self, nodes: Float[Tensor, "l 3"]) -> None:
        super()._interpolate(other, nodes)
        pairs = [torch.meshgrid(nodes[:, first], nodes[:, second], indexing="xy") for first, second in PLANES]
        at = torch.stack([torch.stack(pair, -1) for pair in pairs]) * 2 - 1  # [3, l, l, 2]
        self.planes.copy_(F.grid_sample(other.planes, at, align_corners=True))


class CPField(LowRankField):
    """Sums of products of three vectors (equation 2), the smallest of the families."""

    name = "cp"
    along = (0, 1, 2)

    def __init__(self, bounds: Float[Tensor, "2 3"], config: LowRankConfig):
        super().__init__(bounds, config)
        rank, size = config.density_rank + config.color_rank, config.resolution
        self.lines = nn.Parameter(0.2 * torch.randn(3, rank, size))
        self.basis = nn.Linear(config.color_rank, 15, bias=False)
        self.head = ColorHead()

    def encode(self, unit: Float[Tensor, "n 3"]) -> Float[Tensor, "n f"]:
        products = _on_lines(self.lines, unit).prod(0)  # [rank, n]
        density, color = products.split([self.config.density_rank, self.config.color_rank])
        return torch.cat([density.sum(0)[:, None], self.basis(color.T)], -1)

    def regularization(self) -> dict[str, Tensor]:
        """L1 of the density factors."""
        return {"l1": self.lines[:, : self.config.density_rank].abs().mean()}

    def dense(self) -> Float[Tensor, "k r r r"]:
        """Both tensors at every node, indexed [component, z, y, x]: density, then the components of colour."""
        parts = torch.einsum("rx,ry,rz->rzyx", *self.lines)
        rank = self.config.density_rank
        return torch.cat([parts[:rank].sum(0, keepdim=True), parts[rank:]])


VM_PRESETS = {
    "small": LowRankConfig(resolution=64, density_rank=8, color_rank=24),
    "paper": LowRankConfig(resolution=300, density_rank=16, color_rank=48),
}
CP_PRESETS = {
    "small": LowRankConfig(resolution=64, density_rank=32, color_rank=96),
    "paper": LowRankConfig(resolution=500, density_rank=96, color_rank=288),
}
