"""Perceptron whose colour layers a grid over view directions modulates (CAM, arXiv 2311.14993, section 4.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .base import MOST, VolumeField, spherical_harmonics
from .mlp import positional_encoding
from .modulation import Modulation, modulated, normalized

DEGREE = 4
"""Bands of the spherical harmonics that enter the colour layers."""
GRID_RATE = 10.0
"""Learning rate of modulation grids relative to the weights': 1e-2 to 1e-3, as in the paper's other tasks."""


@dataclass(frozen=True, kw_only=True)
class CAMConfig:
    """Sizes of a modulated perceptron."""

    layers: int = 3
    """Hidden layers whose input is the position; density is computed from the last one."""
    color_layers: int = 2
    """Hidden layers after them whose input includes the direction, which also modulates them."""
    width: int = 96
    """Units of a hidden layer of the position."""
    color_width: int = 64
    """Units of a hidden layer of the direction."""
    octaves: int = 6
    """Frequencies of the positional encoding (NeRF, equation 4)."""
    norm: bool = True
    """Norm over the channels of a point before every activation."""
    azimuth: int = 10
    """Nodes of the modulation grid around the vertical; 0 leaves out the grid."""
    elevation: int = 3
    """Nodes of the modulation grid from straight down to straight up."""

    def __post_init__(self) -> None:
        for name in ("layers", "color_layers", "width", "color_width", "octaves"):
            if not 1 <= getattr(self, name) <= MOST:
                raise ValueError(f"{name} must be in 1..{MOST}, got {getattr(self, name)}")
        if self.azimuth and min(self.azimuth, self.elevation) < 2:
            raise ValueError(
                f"azimuth and elevation need at least 2 nodes (or azimuth 0), got {self.azimuth} and {self.elevation}"
            )
        if self.azimuth and not self.norm:
            raise ValueError("a modulation grid scales normed layers; set norm, or azimuth to 0")


def direction_coordinates(views: Float[Tensor, "n 3"]) -> Float[Tensor, "n 2"]:
    """Azimuth from x to y and elevation from -z to z of unit vectors, both in 0..1; no gradient."""
    views = views.detach()
    azimuth = torch.atan2(views[:, 1], views[:, 0]) / (2 * math.pi)
    elevation = views[:, 2].clamp(-1, 1).asin() / math.pi + 0.5
    return torch.stack([azimuth % 1, elevation], -1)


class ModulatedHead(nn.Module):
    """Features and a direction's 16 spherical harmonics through modulated layers to RGB.

    Args:
        features: numbers that come from the trunk.
        config: the rest.
    """

    def __init__(self, features: int, config: CAMConfig):
        super().__init__()
        sizes = [features + DEGREE**2] + [config.color_width] * config.color_layers
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)])
        self.last = nn.Linear(config.color_width, 3)
        self.norm, self.modulation = config.norm, None
        if config.azimuth:
            nodes = (config.azimuth, config.elevation)
            self.modulation = Modulation(nodes, config.color_layers, wraps=(True, False))

    def forward(self, features: Float[Tensor, "n f"], views: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """RGB in 0..1."""
        hidden = torch.cat([spherical_harmonics(views, DEGREE).to(features.dtype), features], -1)
        pairs = None if self.modulation is None else self.modulation(direction_coordinates(views))
        for number, layer in enumerate(self.layers):
            hidden = layer(hidden)
            if pairs is not None:
                hidden = modulated(hidden, pairs[number])
            elif self.norm:
                hidden = normalized(hidden)
            hidden = F.relu(hidden)
        return torch.sigmoid(self.last(hidden))


class CAMField(VolumeField):
    """Normed layers over the position, then layers that the direction modulates.

    The published network modulates every layer, so that density depends on the direction, and norms over the samples of
    a ray, so that it depends on the ray. Here the density comes before the first modulated layer, and norms are over
    the channels of a point: occupancy grids, meshes and distillation work as for every other family.
    """

    name = "cam"

    def __init__(self, bounds: Float[Tensor, "2 3"], config: CAMConfig):
        super().__init__(bounds, config)
        inputs = 3 * (1 + 2 * config.octaves)
        sizes = [inputs] + [config.width] * config.layers
        self.skip_layer = (config.layers + 1) // 2
        if self.skip_layer < config.layers:
            sizes[self.skip_layer] += inputs
        self.trunk = nn.ModuleList([nn.Linear(n, config.width) for n in sizes[:-1]])
        self.density = nn.Linear(config.width, 1)
        self.head = ModulatedHead(config.width, config)

    @property
    def feature_size(self) -> int:
        return 1 + self.config.width

    def rates(self) -> dict[str, float]:
        return {"head.modulation": GRID_RATE}

    def encode(self, unit: Float[Tensor, "n 3"]) -> Float[Tensor, "n f"]:
        inputs = positional_encoding(unit * 2 - 1, self.config.octaves)
        hidden = inputs
        for number, layer in enumerate(self.trunk):
            if number == self.skip_layer:
                hidden = torch.cat([hidden, inputs], -1)
            hidden = layer(hidden)
            hidden = F.relu(normalized(hidden) if self.config.norm else hidden)
        return torch.cat([self.density(hidden), hidden], -1)


PRESETS = {
    "small": CAMConfig(),
    "twin": CAMConfig(azimuth=0, norm=False),
    "paper": CAMConfig(layers=8, width=256, color_width=192, octaves=16),
}
"""Named sizes; "twin" is "small" without norm and grids."""
