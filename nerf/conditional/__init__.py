"""CLIP-NeRF's category field (arXiv 2112.05139): trained on a procedural family, edited by text and pictures."""

from __future__ import annotations

from .codes import CodeDistribution
from .model import ConditionalModel, ConditionalModelError

__all__ = ["CodeDistribution", "ConditionalModel", "ConditionalModelError"]
