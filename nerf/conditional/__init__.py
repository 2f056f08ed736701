"""CLIP-NeRF's category field (arXiv 2112.05139): trained on a procedural family, and edited by text and pictures."""

from __future__ import annotations

from .codes import Gaussian
from .model import ConditionalModel, ConditionalModelError

__all__ = ["ConditionalModel", "ConditionalModelError", "Gaussian"]
