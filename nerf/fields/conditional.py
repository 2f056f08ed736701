"""A radiance field of a whole category with a code for shape and one for appearance (CLIP-NeRF, arXiv 2112.05139, 3.1).

Density depends on position and shape code only; the appearance code enters the colour branch after it. So an edit of
appearance leaves geometry bit-identical. That an edit of shape leaves colours is learned, not guaranteed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .base import VolumeField, density_of
from .mlp import positional_encoding

WARP = 0.3
"""Farthest that the warp moves a coordinate, in half widths of the box."""
START = -1.0
"""Log-density of an untrained field: transparent enough that rays reach the back, dense enough for gradients."""


@dataclass(frozen=True, kw_only=True)
class ConditionalConfig:
    """Sizes of a conditional field."""

    mode: Literal["modulation", "warp", "concat"] = "modulation"
    """How the shape code acts: by the paper's shift tanh(T) of the encoding, by moving positions, or as an input."""
    shape_code: int = 32
    """Numbers of a shape code."""
    appearance_code: int = 32
    """Numbers of an appearance code."""
    layers: int = 4
    """Hidden layers of the trunk."""
    width: int = 96
    """Units of a hidden layer of the trunk."""
    octaves: int = 6
    """Frequencies of the positional encoding."""
    deform_layers: int = 2
    """Hidden layers of the deformation network T."""
    deform_width: int = 96
    """Units of a hidden layer of it."""
    features: int = 31
    """Numbers that the trunk passes to the colour branch."""
    color_layers: int = 2
    """Hidden layers of the colour branch."""
    color_width: int = 64
    """Units of a hidden layer of it."""
    view_octaves: int = 2
    """Frequencies of the direction's encoding."""

    def __post_init__(self) -> None:
        if self.mode not in ("modulation", "warp", "concat"):
            raise ValueError(f"mode must be modulation, warp or concat, got {self.mode!r}")
        for name, value in vars(self).items():
            if name != "mode" and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")


class ConditionalField(nn.Module):
    """Density and colour at points, given the codes of each point's object.

    Args:
        bounds: lower and upper corner of the box, [2, 3], in world units; outside, density is 0.
        config: sizes.
    """

    bounds: Tensor

    def __init__(self, bounds: Float[Tensor, "2 3"], config: ConditionalConfig):
        super().__init__()
        self.config = config
        self.register_buffer("bounds", bounds.float().clone(), persistent=False)
        encoded = 3 * (1 + 2 * config.octaves)
        inputs = encoded
        if config.mode == "concat":
            inputs += config.shape_code
        else:
            outputs = encoded if config.mode == "modulation" else 3
            sizes = [encoded + config.shape_code] + [config.deform_width] * config.deform_layers + [outputs]
            self.deform = perceptron(sizes)
            # At first there is no deformation: untrained codes would move positions at random.
            nn.init.zeros_(self.deform.last.weight)
            nn.init.zeros_(self.deform.last.bias)
        self.trunk = perceptron([inputs] + [config.width] * config.layers + [1 + config.features])
        nn.init.constant_(self.trunk.last.bias[:1], START)
        directions = 3 * (1 + 2 * config.view_octaves)
        sizes = [config.features + directions + config.appearance_code]
        self.branch = perceptron(sizes + [config.color_width] * config.color_layers + [3])

    def deformed(
        self, encoded: Float[Tensor, "n e"], position: Float[Tensor, "n 3"], shape_code: Float[Tensor, "n s"]
    ) -> Float[Tensor, "n f"]:
        """Input of the trunk: the shifted encoding, that of the moved position, or the encoding and the shape code.

        Args:
            encoded: positional encoding of ``position``.
            position: in -1..1.
        """
        if self.config.mode == "concat":
            return torch.cat([encoded, shape_code], -1)
        shift = self.deform(torch.cat([encoded, shape_code], -1)).tanh()
        if self.config.mode == "modulation":
            return encoded + shift
        return positional_encoding(position + WARP * shift, self.config.octaves)

    def encode(self, unit: Float[Tensor, "n 3"], shape_code: Float[Tensor, "n s"]) -> Float[Tensor, "n f"]:
        """Log-density (first) and features for the colour branch, at points of the unit cube."""
        position = unit * 2 - 1
        encoded = positional_encoding(position, self.config.octaves)
        return self.trunk(self.deformed(encoded, position, shape_code))

    def color(
        self, features: Float[Tensor, "n f"], views: Float[Tensor, "n 3"], appearance_code: Float[Tensor, "n a"]
    ) -> Float[Tensor, "n 3"]:
        """RGB in 0..1 from the trunk's features (without log-density), unit directions and appearance codes."""
        directions = positional_encoding(views, self.config.view_octaves)
        return self.branch(torch.cat([features, directions, appearance_code], -1)).sigmoid()

    def forward(
        self,
        points: Float[Tensor, "n 3"],
        views: Float[Tensor, "n 3"],
        shape_code: Float[Tensor, "n s"],
        appearance_code: Float[Tensor, "n a"],
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        """Density per unit length, and RGB, at points in the box seen along unit vectors."""
        features = self.encode(self.unit(points), shape_code)
        return density_of(features[:, 0]), self.color(features[:, 1:], views, appearance_code)

    def density(self, points: Float[Tensor, "n 3"], shape_code: Float[Tensor, "n s"]) -> Float[Tensor, " n"]:
        """Density per unit length at points in the box."""
        return density_of(self.encode(self.unit(points), shape_code)[:, 0])

    def unit(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """World coordinates to the unit cube of the bounds, cut to it."""
        return ((points - self.bounds[0]) / (self.bounds[1] - self.bounds[0])).clamp(0, 1)

    def copied(self) -> ConditionalField:
        """A copy on the CPU with weights of its own."""
        field = ConditionalField(self.bounds.cpu(), self.config)
        field.load_state_dict({name: value.detach().cpu() for name, value in self.state_dict().items()})
        return field

    def at(self, shape_code: Float[Tensor, " s"], appearance_code: Float[Tensor, " a"]) -> ConditionedField:
        """The field of one object: an ordinary one, to be drawn, distilled and exported. Gradients reach the codes.

        Raises:
            ValueError: a code has the wrong number of numbers, or one that is not finite.
        """
        for name, code in (("shape_code", shape_code), ("appearance_code", appearance_code)):
            wanted = getattr(self.config, name)
            if tuple(code.shape) != (wanted,) or not bool(code.isfinite().all()):
                raise ValueError(
                    f"{name} must be {wanted} finite numbers, got shape {list(code.shape)}: {code.tolist()}"
                )
        return ConditionedField(self, shape_code, appearance_code)


class ConditionedField(VolumeField):
    """The field of one object: a conditional field with both codes fixed."""

    name = "conditional"
    shape_code: Tensor

    def __init__(self, field: ConditionalField, shape_code: Float[Tensor, " s"], appearance_code: Float[Tensor, " a"]):
        super().__init__(field.bounds, field.config)
        self.field = field
        self.register_buffer("shape_code", shape_code)
        self.head = ConditionedHead(field, appearance_code)

    @property
    def feature_size(self) -> int:
        return 1 + self.config.features

    def rates(self) -> Mapping[str, float]:
        return {}

    def encode(self, unit: Float[Tensor, "n 3"]) -> Float[Tensor, "n f"]:
        return self.field.encode(unit, self.shape_code.expand(len(unit), -1))


class ConditionedHead(nn.Module):
    """The colour branch with a fixed appearance code."""

    appearance_code: Tensor

    def __init__(self, field: ConditionalField, appearance_code: Float[Tensor, " a"]):
        super().__init__()
        self.field = field
        self.register_buffer("appearance_code", appearance_code)

    def forward(self, features: Float[Tensor, "n f"], views: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        return self.field.color(features, views, self.appearance_code.expand(len(features), -1))


class Perceptron(nn.ModuleList):
    """Linear layers with rectifiers between them."""

    def forward(self, x: Float[Tensor, "n i"]) -> Float[Tensor, "n o"]:
        for layer in self[:-1]:
            x = F.relu(layer(x), inplace=True)
        return self.last(x)

    @property
    def last(self) -> nn.Linear:
        """The layer without a rectifier."""
        return cast(nn.Linear, self[-1])


def perceptron(sizes: list[int]) -> Perceptron:
    """A `Perceptron` with layers between consecutive sizes."""
    return Perceptron([nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)])


PRESETS = {
    "small": ConditionalConfig(),
    "paper": ConditionalConfig(
        shape_code=128, appearance_code=128, layers=8, width=256, octaves=10, deform_layers=4, deform_width=256,
        features=256, color_layers=2, color_width=128, view_octaves=4,
    ),
}  # fmt: skip
