"""Cameras that an edited object is rendered from."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mappers.pixels import check_side, check_views

from ..cameras import Cameras
from .model import ConditionalModel


@dataclass(frozen=True, kw_only=True)
class View:
    """A camera that looks at the middle of an object, and the size of its picture.

    Raises:
        ValueError: the azimuth is not finite, the elevation is outside -90..90, or the size is below 1.
    """

    azimuth: float = 235.0
    """Degrees about the z axis, from the x axis to the y axis. The front of chairs is -y (270 degrees) and that of cars
    is -x (180 degrees), so that 235 degrees shows the front and a side of both."""
    elevation: float = 25.0
    """Degrees above the horizon, in -90..90."""
    size: int = 128
    """Width and height of the picture in pixels."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.azimuth):
            raise ValueError(f"azimuth must be a finite number of degrees, got {self.azimuth}")
        if not -90 <= self.elevation <= 90:
            raise ValueError(f"elevation must be in -90..90 degrees, got {self.elevation}")
        check_side(self.size)

    def camera(self, model: ConditionalModel) -> Cameras:
        """The camera, at the distance at which pictures of the model's family are taken."""
        return model.camera(self.azimuth, self.elevation, self.size)


def turntable_views(count: int, size: int, elevation: float = 25.0) -> list[View]:
    """Views at equal angles all around the object, the first at the default azimuth.

    Args:
        count: number of views.
        size: width and height of each picture in pixels.
        elevation: degrees above the horizon.

    Raises:
        ValueError: count is below 1, or too large; see `check_views`.
    """
    check_views(count)
    first = View().azimuth
    return [View(azimuth=first + 360 * i / count, elevation=elevation, size=size) for i in range(count)]
