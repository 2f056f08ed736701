"""From where an edited object is looked at."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from mappers.draws import Draws

from ..cameras import Cameras
from .families import Family
from .model import ConditionalModel

SWING = 30.0
"""Farthest, in degrees, that `facing` turns to either side of a view's usual azimuth."""
RISE = (10.0, 45.0)
"""Elevations of `facing`, degrees."""


@dataclass(frozen=True, kw_only=True)
class View:
    """A camera on the sphere around an object, and the size of its picture.

    Raises:
        ValueError: an angle is not finite, or the elevation is beyond straight above or below.
    """

    azimuth: float = 235.0
    """Degrees around the object; here chairs and cars are seen from the front and a side."""
    elevation: float = 25.0
    """Degrees above the horizon."""
    size: int = 128
    """Width and height in pixels."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.azimuth):
            raise ValueError(f"azimuth must be a finite number of degrees, got {self.azimuth}")
        if not -90 <= self.elevation <= 90:
            raise ValueError(f"elevation must be in -90..90 degrees, got {self.elevation}")
        if self.size < 1:
            raise ValueError(f"size of a picture must be at least 1 pixel, got {self.size}")

    def camera(self, model: ConditionalModel) -> Cameras:
        """The camera, at the distance that the model's family is seen from."""
        return model.camera(self.azimuth, self.elevation, self.size)


def turntable_views(count: int, size: int, elevation: float = 25.0) -> list[View]:
    """Views of a turntable.

    Raises:
        ValueError: fewer than one view is asked for.
    """
    if count < 1:
        raise ValueError(f"a turntable needs at least 1 view, got {count}")
    first = View().azimuth
    return [View(azimuth=first + 360 * i / count, elevation=elevation, size=size) for i in range(count)]


def facing(family: Family, size: int, draws: Draws) -> Cameras:
    """A random camera about where pictures are usually taken from, for every sample of a batch.

    What texts say of a shape can be seen from there, and need not be told apart from all sides.
    """
    across, up = draws.uniform("facing", (2,)).cpu().unbind(1)
    turn = torch.deg2rad(View.azimuth + SWING * (2 * across - 1))
    rise = torch.deg2rad(RISE[0] + (RISE[1] - RISE[0]) * up)
    return family.seen_from(turn, rise, size)
