"""CLIP-NeRF's category field (arXiv 2112.05139): trained on a procedural family, sampled, edited by its codes."""

from __future__ import annotations

from .gaussian import Gaussian
from .model import ConditionalModel, ConditionalModelError

__all__ = ["ConditionalModel", "ConditionalModelError", "Gaussian"]
