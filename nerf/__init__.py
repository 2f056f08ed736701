"""Radiance fields: families, rendering, training and distillation. Names are imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import mappers  # noqa: F401  # before torch: it limits how long idle threads spin

if TYPE_CHECKING:
    from mappers.quality import psnr

    from .conditional.inversion.inversion import InversionConfig
    from .conditional.inversion.target_picture import target_of
    from .conditional.views import View, turntable_views
    from .distillation.training import distill
    from .evaluation import picture_of
    from .export import render_film, write_film
    from .media.fitting import fit_media
    from .runs import REPORT, Run, load_run, turntable
    from .scenes import Scene, load_scene, make_scene
    from .training import train

_HOMES = {
    "InversionConfig": "nerf.conditional.inversion.inversion",
    "REPORT": "nerf.runs",
    "Run": "nerf.runs",
    "Scene": "nerf.scenes",
    "View": "nerf.conditional.views",
    "distill": "nerf.distillation.training",
    "fit_media": "nerf.media.fitting",
    "load_run": "nerf.runs",
    "load_scene": "nerf.scenes",
    "make_scene": "nerf.scenes",
    "picture_of": "nerf.evaluation",
    "psnr": "mappers.quality",
    "render_film": "nerf.export",
    "target_of": "nerf.conditional.inversion.target_picture",
    "train": "nerf.training",
    "turntable": "nerf.runs",
    "turntable_views": "nerf.conditional.views",
    "write_film": "nerf.export",
}

__all__ = [
    "REPORT",
    "InversionConfig",
    "Run",
    "Scene",
    "View",
    "distill",
    "fit_media",
    "load_run",
    "load_scene",
    "make_scene",
    "picture_of",
    "psnr",
    "render_film",
    "target_of",
    "train",
    "turntable",
    "turntable_views",
    "write_film",
]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use: importing torch takes seconds, and ``--help`` must be instant."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
