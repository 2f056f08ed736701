"""The region that a scene's cameras were in. It is saved with a trained field, so that distillation needs no photos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from .cameras import Cameras, nearest_to_axes, random_in_box, random_orbits

INWARD = 0.5
"""Cameras count as an orbit when the mean cosine between their axes and the middle exceeds this."""


@dataclass(frozen=True, kw_only=True)
class Viewpoints:
    """A belt of a sphere looking at its centre ("orbit"), or a box of positions looking at a target ("box")."""

    kind: Literal["orbit", "box"]
    center: tuple[float, float, float]
    """The point that cameras look at."""
    radius: tuple[float, float]
    """Orbit: smallest and largest distance from the centre, world units."""
    elevation: tuple[float, float]
    """Orbit: lowest and highest, degrees."""
    lower: tuple[float, float, float]
    """Box: least coordinates of positions."""
    upper: tuple[float, float, float]
    """Box: greatest coordinates of positions."""
    width: int
    height: int
    focal: float
    """Focal length, pixels."""
    ndc_near: float | None = None

    @classmethod
    def of(cls, cameras: Cameras) -> Viewpoints:
        """The region of ``cameras``; an orbit extends 5 degrees below the lowest and above the highest, up to 80."""
        positions, forward = cameras.positions, cameras.forward
        center = nearest_to_axes(cameras)
        offset = positions - center
        distance = offset.norm(dim=-1)
        spread = (offset / distance.clamp(min=1e-6)[:, None]).mean(0).norm()
        # For cameras on one side of the scene, an orbit would include views from behind, which were not trained.
        inward = cameras.ndc_near is None and float(spread) < 0.9
        inward &= float((-offset / distance.clamp(min=1e-6)[:, None] * forward).sum(-1).mean()) > INWARD
        rise = torch.rad2deg((offset[:, 2] / distance.clamp(min=1e-6)).clamp(-1, 1).asin())
        target = center if inward else (positions + forward * distance.mean()).mean(0)
        return cls(
            kind="orbit" if inward else "box",
            center=_triple(target),
            radius=(float(distance.min()), float(distance.max())),
            elevation=(max(float(rise.min()) - 5, -85.0), min(max(float(rise.max()) + 5, 10.0), 80.0)),
            lower=_triple(positions.amin(0)),
            upper=_triple(positions.amax(0)),
            width=cameras.width,
            height=cameras.height,
            focal=float(cameras.focal.mean()),
            ndc_near=cameras.ndc_near,
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Viewpoints:
        """The region from its fields as JSON holds them, with lists for tuples.

        Raises:
            TypeError: a field is missing, or unknown.
        """
        fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**fields)

    def draw(self, count: int, generator: torch.Generator) -> Cameras:
        """Random cameras of the region."""
        size = {"width": self.width, "height": self.height, "focal": self.focal}
        if self.kind == "orbit":
            return random_orbits(
                count, radius=self.radius, elevation=self.elevation, center=self.center, generator=generator, **size
            )
        return random_in_box(
            count, lower=self.lower, upper=self.upper, target=self.center, ndc_near=self.ndc_near, generator=generator,
            **size,
        )  # fmt: skip


def _triple(values: torch.Tensor) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return (x, y, z)
