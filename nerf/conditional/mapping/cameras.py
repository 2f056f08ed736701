"""Random cameras in front of the objects of a family."""

from __future__ import annotations

import torch

from mappers.training.draws import Draws

from ...cameras import Cameras
from ..families import Family
from ..views import View

AZIMUTH_SPREAD = 30.0
"""Largest difference to the default azimuth of `View`, degrees."""
ELEVATIONS = (10.0, 45.0)
"""Range of the elevations, degrees."""


def front_cameras(family: Family, size: int, draws: Draws) -> Cameras:
    """A random camera near the default view of `View`, one for every sample of a batch.

    Captions describe what is visible from there, so that CLIP need not recognise objects from all sides.
    """
    across, up = draws.uniform("facing", (2,)).cpu().unbind(1)
    azimuth = torch.deg2rad(View.azimuth + AZIMUTH_SPREAD * (2 * across - 1))
    elevation = torch.deg2rad(ELEVATIONS[0] + (ELEVATIONS[1] - ELEVATIONS[0]) * up)
    return family.seen_from(azimuth, elevation, size)
