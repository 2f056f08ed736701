"""Multilayer perceptron (NeRF, arXiv 2003.08934)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .base import MOST, ColorHead, VolumeField, feature_net


@dataclass(frozen=True, kw_only=True)
class MLPConfig:
    """Sizes of a perceptron."""

    layers: int = 4
    """Hidden layers."""
    width: int = 96
    """Units of a hidden layer."""
    octaves: int = 6
    """Frequencies of the positional encoding (equation 4)."""
    code: int = 28
    """Outputs of the trunk, which a small network maps to the features."""

    def __post_init__(self) -> None:
        for name in ("layers", "width", "octaves", "code"):
            if not 1 <= getattr(self, name) <= MOST:
                raise ValueError(f"{name} must be in 1..{MOST}, got {getattr(self, name)}")


def positional_encoding(x: Float[Tensor, "n d"], octaves: int) -> Float[Tensor, "n e"]:
    """``x`` and the sines and cosines of 2^k pi x for k in 0..octaves-1: d (1 + 2 octaves) numbers."""
    scales = math.pi * 2.0 ** torch.arange(octaves, device=x.device)
    angles = (x[:, None] * scales[:, None]).flatten(1)
    return torch.cat([x, angles.sin(), angles.cos()], -1)


class MLPField(VolumeField):
    """Encoded positions through a deep trunk that receives its input a second time halfway."""

    name = "mlp"

    def __init__(self, bounds: Float[Tensor, "2 3"], config: MLPConfig):
        super().__init__(bounds, config)
        inputs = 3 * (1 + 2 * config.octaves)
        self.skip_layer = (config.layers + 1) // 2
        sizes = [inputs] + [config.width] * config.layers
        if self.skip_layer < config.layers:
            sizes[self.skip_layer] += inputs
        self.trunk = nn.ModuleList([nn.Linear(n, config.width) for n in sizes[:-1]])
        self.code = nn.Linear(config.width, config.code)
        self.net = feature_net(config.code)
        self.head = ColorHead()

    def encode(self, unit: Float[Tensor, "n 3"]) -> Float[Tensor, "n f"]:
        inputs = positional_encoding(unit * 2 - 1, self.config.octaves)
        hidden = inputs
        for i, layer in enumerate(self.trunk):
            if i == self.skip_layer:
                hidden = torch.cat([hidden, inputs], -1)
            hidden = F.relu(layer(hidden))
        return self.net(self.code(hidden))


PRESETS = {
    "small": MLPConfig(),
    "paper": MLPConfig(layers=8, width=256, octaves=10),
    "pvd": MLPConfig(layers=7, width=256, octaves=10),
}
