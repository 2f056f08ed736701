"""Radiance fields: families, rendering, training and distillation. Names are imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .distillation.training import distill
    from .media.fitting import fit_media
    from .runs import Run, load_run
    from .scenes import Scene, load_scene, make_scene
    from .training import train

_HOMES = {
    "Run": "runs",
    "Scene": "scenes",
    "distill": "distillation.training",
    "fit_media": "media.fitting",
    "load_run": "runs",
    "load_scene": "scenes",
    "make_scene": "scenes",
    "train": "training",
}

__all__ = ["Run", "Scene", "distill", "fit_media", "load_run", "load_scene", "make_scene", "train"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: torch takes seconds, ``--help`` must not."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
