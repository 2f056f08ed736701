"""Perceptrons of a moving scene: a warp into a still one, modulated by grids over time (CAM, arXiv 2311.14993, 4.3).

D-NeRF's two networks (arXiv 2011.13961): the first says where a point of a moment lies in the still ("canonical")
scene, the second what is there. Times are in 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .base import MOST, ColorHead, VolumeField
from .cam import GRID_RATE
from .mlp import positional_encoding
from .modulation import Modulation, modulated, normalized


@dataclass(frozen=True, kw_only=True)
class CAMTimeConfig:
    """Sizes of the perceptrons."""

    warp_layers: int = 3
    """Hidden layers of the warp."""
    warp_width: int = 48
    """Units of a hidden layer of the warp."""
    layers: int = 4
    """Hidden layers of the still scene's network."""
    width: int = 96
    """Units of a hidden layer of the still scene's network."""
    octaves: int = 6
    """Frequencies of the positional encoding of positions."""
    time_octaves: int = 4
    """Frequencies of the positional encoding of times."""
    norm: bool = True
    """Norm over the channels of a point before every activation."""
    nodes: int = 5
    """Nodes of the modulation grids along time; 0 leaves out the grids."""

    def __post_init__(self) -> None:
        for name in ("warp_layers", "warp_width", "layers", "width", "octaves", "time_octaves"):
            if not 1 <= getattr(self, name) <= MOST:
                raise ValueError(f"{name} must be in 1..{MOST}, got {getattr(self, name)}")
        if self.nodes == 1 or self.nodes < 0:
            raise ValueError(f"nodes must be 0 or at least 2, got {self.nodes}")
        if self.nodes and not self.norm:
            raise ValueError("a modulation grid scales normed layers; set norm, or nodes to 0")


class Trunk(nn.Module):
    """Hidden layers with ReLU, normed and modulated as the configuration says."""

    def __init__(self, inputs: int, width: int, layers: int, config: CAMTimeConfig):
        super().__init__()
        self.norm = config.norm
        self.layers = nn.ModuleList([nn.Linear(inputs if not number else width, width) for number in range(layers)])
        self.modulation = Modulation((config.nodes,), layers) if config.nodes else None

    def forward(self, hidden: Float[Tensor, "n i"], times: Float[Tensor, " n"]) -> Float[Tensor, "n w"]:
        """The last layer's units."""
        pairs = None if self.modulation is None else self.modulation(times[:, None])
        for number, layer in enumerate(self.layers):
            hidden = layer(hidden)
            if pairs is not None:
                hidden = modulated(hidden, pairs[number])
            elif self.norm:
                hidden = normalized(hidden)
            hidden = F.relu(hidden)
        return hidden


class CAMTimeField(VolumeField):
    """A field of a moving scene. Evaluated without times it is the scene at time 0."""

    name = "cam-time"
    moves = True

    def __init__(self, bounds: Float[Tensor, "2 3"], config: CAMTimeConfig):
        super().__init__(bounds, config)
        inputs, moments = 3 * (1 + 2 * config.octaves), 1 + 2 * config.time_octaves
        self.warp = Trunk(inputs + moments, config.warp_width, config.warp_layers, config)
        self.shift = nn.Linear(config.warp_width, 3)
        with torch.no_grad():
            self.shift.weight.mul_(0.05)  # at first the warp is nearly the identity
            self.shift.bias.zero_()
        self.still = Trunk(inputs, config.width, config.layers, config)
        self.net = nn.Linear(config.width, 16)
        self.head = ColorHead()

    def rates(self) -> dict[str, float]:
        return {"warp.modulation": GRID_RATE, "still.modulation": GRID_RATE}

    def encode(self, unit: Float[Tensor, "n 3"]) -> Float[Tensor, "n f"]:
        return self.encode_at(unit, unit.new_zeros(len(unit)))

    def encode_at(self, unit: Float[Tensor, "n 3"], times: Float[Tensor, " n"]) -> Float[Tensor, "n f"]:
        """Log-density and colour features at points of the unit cube, each at its time in 0..1."""
        code = positional_encoding(unit * 2 - 1, self.config.octaves)
        moment = positional_encoding(times[:, None], self.config.time_octaves)
        moved = unit + self.shift(self.warp(torch.cat([code, moment], -1), times)).float()
        return self.net(self.still(positional_encoding(moved * 2 - 1, self.config.octaves), times))

    def forward(
        self, points: Float[Tensor, "n 3"], views: Float[Tensor, "n 3"] | None, times: Float[Tensor, " n"] | None = None
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"] | None]:
        """Density per unit length, and RGB if there are views; at time 0 if no times are given."""
        if times is None:
            return super().forward(points, views)
        features = self.within_bounds(points, lambda unit: self.encode_at(unit, times))
        return self.density_and_color(features, views)


PRESETS = {
    "small": CAMTimeConfig(),
    "twin": CAMTimeConfig(norm=False, nodes=0),
    "paper": CAMTimeConfig(warp_layers=4, warp_width=64, layers=8, width=256, octaves=10),
}
"""Named sizes; "twin" is "small" without norm and grids."""
