"""The eleven colour names of the families, their prototypes in hue, saturation and value, and random palettes."""

from __future__ import annotations

import colorsys
import math

import torch
from jaxtyping import Float
from torch import Tensor

PROTOTYPES: dict[str, tuple[float, float, float]] = {
    "red": (0.0, 0.85, 0.8),
    "orange": (0.075, 0.88, 0.95),
    "yellow": (0.145, 0.8, 0.95),
    "green": (0.35, 0.75, 0.6),
    "blue": (0.61, 0.8, 0.8),
    "purple": (0.76, 0.65, 0.65),
    "pink": (0.93, 0.42, 0.96),
    "brown": (0.07, 0.65, 0.42),
    "black": (0.0, 0.0, 0.1),
    "white": (0.0, 0.0, 0.96),
    "gray": (0.0, 0.0, 0.5),
}
"""English's basic colour terms (Berlin and Kay, 1969): hue, saturation and value, each in 0..1."""
SPREAD = (0.012, 0.06, 0.04)
"""Largest difference of hue, saturation and value (each in 0..1) of a sampled colour to its prototype."""
UNICOLOR = 0.3
"""Share of palettes with one colour for all parts, so that captions such as "a red chair" occur."""

COLORS: dict[str, tuple[float, float, float]] = {
    name: colorsys.hsv_to_rgb(*prototype) for name, prototype in PROTOTYPES.items()
}
"""RGB of the prototypes, each in 0..1."""


def sample_palettes(count: int, parts: int, seed: int) -> Float[Tensor, "n q"]:
    """Random palettes: RGB of each part in turn, then the strength of the highlight (the material), each in 0..1."""
    generator = torch.Generator().manual_seed(seed)
    names = torch.randint(len(PROTOTYPES), (count, parts), generator=generator)
    whole = torch.rand(count, generator=generator) < UNICOLOR
    names = torch.where(whole[:, None], names[:, :1], names)
    stray = torch.rand(count, parts, 3, generator=generator) * 2 - 1
    stray = torch.where(whole[:, None, None], stray[:, :1], stray)
    hsv = torch.tensor(list(PROTOTYPES.values()))[names]
    grey = hsv[..., 1:2] == 0
    moved = hsv + stray * torch.tensor(SPREAD) * torch.where(grey, torch.tensor([0.0, 0.0, 1.0]), torch.ones(3))
    moved = torch.cat([moved[..., :1] % 1, moved[..., 1:].clamp(0, 1)], -1)
    rgb = [[colorsys.hsv_to_rgb(*color) for color in palette] for palette in moved.tolist()]
    material = torch.rand(count, 1, generator=generator)
    return torch.cat([torch.tensor(rgb).view(count, 3 * parts), material], -1)


def nearest_name(rgb: Float[Tensor, " 3"]) -> str:
    """The colour name with the nearest prototype in the cone of hue, saturation and value."""
    distance = (_POINTS - torch.tensor(_cone(*colorsys.rgb_to_hsv(*rgb.tolist())))).square().sum(-1)
    return tuple(PROTOTYPES)[int(distance.argmin())]


def _cone(hue: float, saturation: float, value: float) -> tuple[float, float, float]:
    """A colour as a point of a cone, in which hue matters little for unsaturated and dark colours."""
    angle = 2 * math.pi * hue
    return saturation * value * math.cos(angle), saturation * value * math.sin(angle), value


_POINTS = torch.tensor([_cone(*prototype) for prototype in PROTOTYPES.values()])
