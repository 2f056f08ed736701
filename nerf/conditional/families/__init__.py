"""Procedural families of objects with ground truth: a seed is a data set, and there is nothing to download.

They stand in for Photoshapes and Carla, which CLIP-NeRF (arXiv 2112.05139) was trained on.
"""

from __future__ import annotations

from .cars import CARS
from .chairs import CHAIRS
from .family import Family
from .splits import Split, split_of

__all__ = ["FAMILIES", "Family", "Split", "split_of"]

FAMILIES: dict[str, Family] = {family.name: family for family in (CHAIRS, CARS)}
