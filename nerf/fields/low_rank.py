"""Low-rank tensors (TensoRF, arXiv 2203.09517): vector-matrix (VM) and canonical polyadic (CP) decompositions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .base import ColorHead, Field

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


def _resized(factor: Tensor, size: tuple[int, ...], mode: str) -> nn.Parameter:
    return nn.Parameter(F.interpolate(factor.detach(), size=size, mode=mode, align_corners=True))


class VMField(Field):
    """Sums of products of a matrix over two axes and a vector over the third (equation 3)."""

    name = "vm"

    def __init__(self, bounds: Float[Tensor, "2 3"], config: LowRankConfig):
        super().__init__(bounds)
        self.config = config
        rank, size = config.density_rank + config.color_rank, config.resolution
        self.planes = nn.Parameter(0.1 * torch.randn(3, rank, size, size))
        self.lines = nn.Parameter(0.1 * torch.randn(3, rank, size))
        self.basis = nn.Linear(3 * config.color_rank, 15, bias=False)
        self.head = ColorHead()

    def rates(self) -> Mapping[str, float]:
        return {"basis": NET_RATE, "head": NET_RATE}

    def encode(self, unit: Float[Tensor, "n 3"]) -> Float[Tensor, "n f"]:
        centered = unit * 2 - 1
        at = torch.stack([centered[:, axes] for axes in PLANES])[:, :, None]  # [3, n, 1, 2]
        planes = F.grid_sample(self.planes, at, align_corners=True).squeeze(-1)
        products = planes * _on_lines(self.lines, unit[:, LINES])  # [3, rank, n]
        density, color = products.split([self.config.density_rank, self.config.color_rank], 1)
        return torch.cat([density.sum((0, 1))[:, None], self.basis(color.flatten(0, 1).T)], -1)

    def regularization(self) -> dict[str, Tensor]:
        """L1 of the density factors (section 4.2), and the total variation of the matrices."""
        density = self.config.density_rank
        l1 = self.planes[:, :density].abs().mean() + self.lines[:, :density].abs().mean()
        variation = self.planes.diff(dim=-1).square().mean() + self.planes.diff(dim=-2).square().mean()
        return {"l1": l1, "total_variation": variation}

    def dense(self) -> Float[Tensor, "k r r r"]:
        """Both tensors put together at every node, indexed [component, z, y, x]: density, then colour ranks."""
        parts = [
            torch.einsum("ryx,rz->rzyx", self.planes[0], self.lines[0]),
            torch.einsum("rzx,ry->rzyx", self.planes[1], self.lines[1]),
            torch.einsum("rzy,rx->rzyx", self.planes[2], self.lines[2]),
        ]
        rank = self.config.density_rank
        density = torch.stack([part[:rank].sum(0) for part in parts]).sum(0, keepdim=True)
        return torch.cat([density, *(part[rank:] for part in parts)])

    def resized(self, resolution: int) -> VMField:
        """The same field with more or fewer nodes, by bilinear interpolation."""
        field = VMField(self.bounds, dataclasses.replace(self.config, resolution=resolution))
        field.load_state_dict({**self.state_dict(), "planes": field.planes, "lines": field.lines})
        field.planes = _resized(self.planes, (resolution, resolution), "bilinear")
        field.lines = _resized(self.lines, (resolution,), "linear")
        return field


class CPField(Field):
    """Sums of products of three vectors (equation 2), the smallest of the families."""

    name = "cp"

    def __init__(self, bounds: Float[Tensor, "2 3"], config: LowRankConfig):
        super().__init__(bounds)
        self.config = config
        rank, size = config.density_rank + config.color_rank, config.resolution
        self.lines = nn.Parameter(0.2 * torch.randn(3, rank, size))
        self.basis = nn.Linear(config.color_rank, 15, bias=False)
        self.head = ColorHead()

    def rates(self) -> Mapping[str, float]:
        return {"basis": NET_RATE, "head": NET_RATE}

    def encode(self, unit: Float[Tensor, "n 3"]) -> Float[Tensor, "n f"]:
        products = _on_lines(self.lines, unit).prod(0)  # [rank, n]
        density, color = products.split([self.config.density_rank, self.config.color_rank])
        return torch.cat([density.sum(0)[:, None], self.basis(color.T)], -1)

    def regularization(self) -> dict[str, Tensor]:
        """L1 of the density factors."""
        return {"l1": self.lines[:, : self.config.density_rank].abs().mean()}

    def dense(self) -> Float[Tensor, "k r r r"]:
        """Both tensors put together at every node, indexed [component, z, y, x]: density, then colour ranks."""
        parts = torch.einsum("rx,ry,rz->rzyx", *self.lines)
        rank = self.config.density_rank
        return torch.cat([parts[:rank].sum(0, keepdim=True), parts[rank:]])

    def resized(self, resolution: int) -> CPField:
        """The same field with more or fewer nodes, by linear interpolation."""
        field = CPField(self.bounds, dataclasses.replace(self.config, resolution=resolution))
        field.load_state_dict({**self.state_dict(), "lines": field.lines})
        field.lines = _resized(self.lines, (resolution,), "linear")
        return field


VM_PRESETS = {
    "small": LowRankConfig(resolution=64, density_rank=8, color_rank=24),
    "paper": LowRankConfig(resolution=300, density_rank=16, color_rank=48),
}
CP_PRESETS = {
    "small": LowRankConfig(resolution=64, density_rank=32, color_rank=96),
    "paper": LowRankConfig(resolution=500, density_rank=96, color_rank=288),
}
