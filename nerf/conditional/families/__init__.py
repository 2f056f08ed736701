"""Procedural families of objects with ground truth: data sets that are made from a seed, without downloads.

They replace Photoshapes and Carla, the data of CLIP-NeRF (arXiv 2112.05139).
"""

from __future__ import annotations

from .cars import CARS
from .chairs import CHAIRS
from .family import Family

__all__ = ["FAMILIES", "Family"]

FAMILIES: dict[str, Family] = {family.name: family for family in (CHAIRS, CARS)}
