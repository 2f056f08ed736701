"""Gaussian splats: training, starts from depth maps, and files that other programs open."""

from __future__ import annotations

ENDINGS = (".ply", ".spz", ".splat")
"""Endings of files of Gaussians that can be read. Here, so that a command knows them without torch."""
