"""Scenes to train on: readers for the usual formats, synthetic scenes, and a few that are shipped.

`load_scene` reads; `make_scene` renders solids or a mesh; `shipped_scenes` lists those that need no download.
Names are imported at their first use, so that solids and cameras do not load the readers of all formats.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bounds import empty_ray_fraction
    from .loading import load_scene, shipped_scenes
    from .scene import Scene, SceneError
    from .synthetic.making import make_scene

_HOMES = {
    "Scene": "scene",
    "SceneError": "scene",
    "empty_ray_fraction": "bounds",
    "load_scene": "loading",
    "make_scene": "synthetic.making",
    "shipped_scenes": "loading",
}

__all__ = ["Scene", "SceneError", "empty_ray_fraction", "load_scene", "make_scene", "shipped_scenes"]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
